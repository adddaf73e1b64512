// SPDX-License-Identifier: Apache-2.0
//! Rust's standard library: threads, channels, locks, files, panics that are caught.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

fn main() {
    let total = Arc::new(Mutex::new(0u64));
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = (0..8u64)
        .map(|i| {
            let (total, send) = (Arc::clone(&total), send.clone());
            thread::spawn(move || {
                for n in 0..10_000 {
                    *total.lock().unwrap() += n ^ i;
                }
                send.send((i, i * i)).unwrap();
            })
        })
        .collect();
    drop(send);
    let squares: BTreeMap<_, _> = receive.iter().collect();
    for t in threads {
        t.join().unwrap();
    }
    println!("{} {:?}", total.lock().unwrap(), squares);
    std::panic::set_hook(Box::new(|_| {}));
    let caught = thread::spawn(|| Vec::<u8>::new()[3]).join();
    println!("panicked: {}", caught.is_err());
    std::fs::File::create("/tmp/threads.rs.txt").unwrap().write_all(b"written\n").unwrap();
    let mut text = String::new();
    std::fs::File::open("/tmp/threads.rs.txt").unwrap().read_to_string(&mut text).unwrap();
    std::fs::remove_file("/tmp/threads.rs.txt").unwrap();
    print!("{text}");
    std::process::exit(4);
}
