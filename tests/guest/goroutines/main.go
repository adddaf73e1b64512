// SPDX-License-Identifier: Apache-2.0
// Goroutines on all CPUs: channels, mutexes, atomics, timers, the collector, and loopback TCP.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{tree(depth - 1), tree(depth - 1), 1}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func primes(limit int) int {
	in := make(chan int)
	go func(out chan int) {
		for i := 2; i <= limit; i++ {
			out <- i
		}
		close(out)
	}(in)
	count := 0
	for {
		p, ok := <-in
		if !ok {
			return count
		}
		count++
		next := make(chan int)
		go func(in, out chan int, p int) {
			for v := range in {
				if v%p != 0 {
					out <- v
				}
			}
			close(out)
		}(in, next, p)
		in = next
	}
}

func echo(clients, bytes int) int64 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	var wg sync.WaitGroup
	var total int64
	for i := 0; i < clients; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				panic(err)
			}
			go func() { c.Write(make([]byte, bytes)); c.(*net.TCPConn).CloseWrite() }()
			n, _ := io.Copy(io.Discard, c)
			atomic.AddInt64(&total, n)
			c.Close()
		}()
	}
	wg.Wait()
	return total
}

func main() {
	scale := 1
	if len(os.Args) > 1 {
		scale, _ = strconv.Atoi(os.Args[1])
	}
	fmt.Println("CPUs in use are all there are:", runtime.GOMAXPROCS(0) == runtime.NumCPU())
	for r := 0; r < scale; r++ {
		var wg sync.WaitGroup
		var mu sync.Mutex
		var locked, atomics, trees int64
		for i := 0; i < 32; i++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for k := 0; k < 2000; k++ {
					mu.Lock()
					locked++
					mu.Unlock()
					atomic.AddInt64(&atomics, 1)
				}
				atomic.AddInt64(&trees, int64(tree(10).sum()))
				time.Sleep(time.Millisecond)
			}()
		}
		for i := 0; i < 3; i++ {
			runtime.GC()
		}
		wg.Wait()
		fmt.Println("locked", locked, "atomics", atomics, "trees", trees)
		fmt.Println("primes", primes(500))
		fmt.Println("echoed", echo(16, 100000))
	}
}
