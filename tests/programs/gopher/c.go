// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package main

// static int triple_in_c(int n) { return 3 * n; }
import "C"

func init() {
	triple = func(n int) int { return int(C.triple_in_c(C.int(n))) }
}
