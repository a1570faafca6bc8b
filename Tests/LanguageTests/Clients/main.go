// The Go client: makes a handshake in memory with the key NAME of the broker, and prints the certificate's subject as
// the client sees it.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"example.org/test/keybroker"
)

func main() {
	certificate, err := keybroker.Get(os.Args[1], nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	authority, _ := os.ReadFile(os.Args[2])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	here, there := net.Pipe()
	go tls.Server(there, &tls.Config{Certificates: []tls.Certificate{certificate}}).Handshake()
	client := tls.Client(here, &tls.Config{RootCAs: roots, ServerName: "languages.test"})
	if err := client.Handshake(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(client.ConnectionState().PeerCertificates[0].Subject.CommonName)
	files, _ := os.ReadDir("/proc/self/fd")
	for _, file := range files {
		if target, _ := os.Readlink("/proc/self/fd/" + file.Name()); target == os.Getenv("KEY_FILE") {
			fmt.Println("the key is open still")
		}
	}
}
