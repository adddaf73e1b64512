// SPDX-License-Identifier: Apache-2.0

// hello answers a greeting at / and files of a folder at /static/. It is an ordinary net/http
// program: nothing in it knows what it will run on.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	listen := flag.String("listen", ":8080", "address to listen on")
	static := flag.String("static", "/static", "folder that /static/ serves")
	flag.Parse()

	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "Welcome to my website!"
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, greeting)
	})
	http.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir(*static))))

	log.Printf("listening on %s", *listen)
	log.Fatal(http.ListenAndServe(*listen, nil))
}
