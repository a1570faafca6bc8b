// Package keybroker gets TLS keys from the key broker. It is one file: copy it into your program.
//
// Must never accept a reply that comes with more or fewer descriptors than it announces. Must never wait without a
// limit. Must never leave a copy of the key in memory, as far as this file holds one: crypto/tls has its own.
package keybroker

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"syscall"
)

// The largest key or certificate that is read, in bytes.
const mostBytes = 1 << 20

// Get asks for a key, and returns it with its certificate. For a key whose policy names no certificate, pass the chain
// in PEM. The socket is KEYBROKER_SOCKET of the environment, or the system's broker.
func Get(name string, chain []byte) (tls.Certificate, error) {
	key, certificate, err := open(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer key.Close()
	if certificate != nil {
		defer certificate.Close()
		if chain, err = read(certificate, name); err != nil {
			return tls.Certificate{}, err
		}
	}
	pem, err := read(key, name)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer wipe(pem)
	return tls.X509KeyPair(chain, pem)
}

// read returns the content of a file, in memory that was never copied.
func read(file *os.File, name string) ([]byte, error) {
	unusable := func(reason string) error {
		return fmt.Errorf("key '%s': the file that was handed over cannot be read: %s", name, reason)
	}
	before, err := file.Stat()
	if err != nil {
		return nil, unusable(err.Error())
	}
	if before.Size() > mostBytes {
		return nil, unusable("read: File too large (EFBIG)")
	}
	// One byte more than the size, to notice a file that grows meanwhile.
	content := make([]byte, before.Size()+1)
	count, err := file.ReadAt(content, 0)
	if err != nil && err != io.EOF {
		wipe(content)
		return nil, unusable(err.Error())
	}
	after, err := file.Stat()
	if err != nil {
		wipe(content)
		return nil, unusable(err.Error())
	}
	isSame := after.Size() == before.Size() && after.ModTime().Equal(before.ModTime())
	if int64(count) != before.Size() || !isSame {
		wipe(content)
		return nil, unusable("it changed while it was read")
	}
	return content[:count], nil
}

func wipe(bytes []byte) {
	for i := range bytes {
		bytes[i] = 0
	}
}

// open returns the open files of the key and of its certificate, which is nil if the policy names none.
func open(name string) (key, certificate *os.File, err error) {
	path := os.Getenv("KEYBROKER_SOCKET")
	if path == "" {
		path = "/run/keybroker/broker.sock"
	}
	broker, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	defer syscall.Close(broker)
	// A broker answers at once, or not at all.
	limit := syscall.Timeval{Sec: 10}
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(broker, syscall.SOL_SOCKET, option, &limit); err != nil {
			return nil, nil, os.NewSyscallError("setsockopt", err)
		}
	}
	err = again(func() error { return syscall.Connect(broker, &syscall.SockaddrUnix{Name: path}) })
	if err != nil {
		return nil, nil, fmt.Errorf("no broker at %s: %w", path, err)
	}
	listener, err := syscall.GetsockoptUcred(broker, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	// 65534 stands for every account that this user namespace does not know.
	if err != nil || (listener.Uid != 0 && (int(listener.Uid) != os.Geteuid() || listener.Uid == 65534)) {
		return nil, nil, fmt.Errorf("%s is not to be trusted: neither root nor this account listens there", path)
	}
	// A busy broker has answered and closed before it is asked: then there is a reply to read nevertheless.
	request := []byte("1G" + name)
	err = again(func() error { return syscall.Sendmsg(broker, request, nil, nil, syscall.MSG_NOSIGNAL) })
	if err != nil && err != syscall.EPIPE {
		return nil, nil, os.NewSyscallError("sendmsg", err)
	}
	packet, control := make([]byte, 4096), make([]byte, syscall.CmsgSpace(12*4))
	var length, room, flags int
	err = again(func() (err error) {
		length, room, flags, _, err = syscall.Recvmsg(broker, packet, control, syscall.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("the broker at %s did not answer: %w", path, err)
	}
	var files []*os.File
	headers, _ := syscall.ParseSocketControlMessage(control[:room])
	for _, header := range headers {
		numbers, _ := syscall.ParseUnixRights(&header)
		for _, number := range numbers {
			files = append(files, os.NewFile(uintptr(number), name))
		}
	}
	isWhole := flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) == 0
	if isWhole && length > 2 && string(packet[:2]) == "1K" && (len(files) == 1 || len(files) == 2) {
		return files[0], append(files, nil)[1], nil
	}
	for _, file := range files {
		file.Close()
	}
	return nil, nil, fmt.Errorf("key %q: the broker answered %q", name, packet[:length])
}

// again calls again if a signal interrupted the call: with a time limit on the socket, the kernel does not.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
