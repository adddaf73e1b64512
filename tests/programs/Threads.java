// SPDX-License-Identifier: Apache-2.0
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Threads, garbage under load, exceptions from faults, files. */
public class Threads {
    static long garbage(int seed) {
        long sum = 0;
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 20000; i++) {
            byte[] b = new byte[1024 + (i * seed) % 512];
            b[i % 1024] = (byte) seed;
            if (i % 100 == 0) kept.add(b);
            sum += b.length;
        }
        return sum + kept.size();
    }

    public static void main(String[] args) throws Exception {
        var pool = Executors.newFixedThreadPool(8);
        var results = new ConcurrentHashMap<Integer, Long>();
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 16; i++) {
            int n = i;
            all.add(pool.submit(() -> results.put(n, garbage(n + 1))));
        }
        for (var f : all) f.get();
        pool.shutdown();
        System.out.println(new TreeMap<>(results));
        try {
            Object o = null;
            o.hashCode();
        } catch (NullPointerException e) {
            System.out.println("null was caught");
        }
        try {
            deep(0);
        } catch (StackOverflowError e) {
            System.out.println("a full stack was caught");
        }
        Path p = Files.createTempFile(Path.of("/tmp"), "skerry", ".txt");
        Files.writeString(p, "written");
        System.out.println(Files.readString(p));
        Files.delete(p);
        System.exit(13);
    }

    static int deep(int n) {
        return deep(n + 1) + 1;
    }
}
