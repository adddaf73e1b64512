// SPDX-License-Identifier: Apache-2.0

// Goroutines on all CPUs, channels, maps, garbage, timers, panics, files.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"time"
)

type node struct {
	left, right *node
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{tree(depth - 1), tree(depth - 1)}
}

func (n *node) count() int {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func hash(n int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint("item ", n)))
	return fmt.Sprintf("%x", sum[:4])
}

func segfault() (err any) {
	defer func() { err = recover() }()
	var p *node
	p.left = p
	return nil
}

func main() {
	runtime.GOMAXPROCS(4)
	jobs, results := make(chan int), make(chan string, 16)
	var wg sync.WaitGroup
	for w := 0; w < 16; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range jobs {
				results <- hash(n)
			}
		}()
	}
	go func() {
		for n := 0; n < 2000; n++ {
			jobs <- n
		}
		close(jobs)
		wg.Wait()
		close(results)
	}()
	var all []string
	for r := range results {
		all = append(all, r)
	}
	sort.Strings(all)
	fmt.Println(len(all), all[0], all[len(all)-1])

	total := 0
	for i := 0; i < 40; i++ {
		total += tree(12).count()
	}
	runtime.GC()
	fmt.Println("nodes", total)

	var late sync.WaitGroup
	for i := 0; i < 100; i++ {
		late.Add(1)
		time.AfterFunc(time.Millisecond, late.Done)
	}
	late.Wait()
	fmt.Println("recovered:", segfault())
	data, _ := json.Marshal(map[string]int{"b": 2, "a": 1})
	if err := os.WriteFile("/tmp/gopher.json", data, 0o600); err != nil {
		panic(err)
	}
	back, err := os.ReadFile("/tmp/gopher.json")
	os.Remove("/tmp/gopher.json")
	fmt.Println(string(back), err)
	if triple != nil {
		fmt.Println("C says", triple(14))
	}
	os.Exit(5)
}

var triple func(int) int
