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
	"time"
	"unsafe"
)

// The largest key or certificate that is read, in bytes.
const mostBytes = 1 << 20

// How long a broker may take until it accepts a connection, and until it answers.
const patience = 10 * time.Second

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
	path, isSet := os.LookupEnv("KEYBROKER_SOCKET")
	if !isSet || hasMoreRights() {
		path = "/run/keybroker/broker.sock"
	}
	broker, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	defer syscall.Close(broker)
	err = within(patience, broker, syscall.SO_SNDTIMEO, func() error {
		return syscall.Connect(broker, &syscall.SockaddrUnix{Name: path})
	})
	if err == syscall.EINVAL { // an empty path
		return nil, nil, os.NewSyscallError("connect", err)
	}
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
	err = within(patience, broker, syscall.SO_SNDTIMEO, func() error {
		return syscall.Sendmsg(broker, request, nil, nil, syscall.MSG_NOSIGNAL)
	})
	if err != nil && err != syscall.EPIPE {
		return nil, nil, os.NewSyscallError("sendmsg", err)
	}
	packet, control := make([]byte, 4096), make([]byte, syscall.CmsgSpace(12*4))
	var length, room, flags int
	err = within(patience, broker, syscall.SO_RCVTIMEO, func() (err error) {
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

// within calls once more if a signal interrupted the call, for what is left of the time: with a time limit on the socket,
// the kernel does not.
func within(limit time.Duration, socket, option int, call func() error) error {
	deadline := time.Now().Add(limit)
	for {
		rest := time.Until(deadline)
		if rest < time.Microsecond { // zero would be no limit
			rest = time.Microsecond
		}
		value := syscall.NsecToTimeval(rest.Nanoseconds())
		if err := syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, option, &value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// hasMoreRights reports whether this program has more rights than its caller, who must not lead it to a broker of theirs:
// AT_SECURE, as secure_getenv(3) has it. Such a program may not read its own list either.
func hasMoreRights() bool {
	const atSecure, wordSize = 23, unsafe.Sizeof(uintptr(0))
	list, err := os.ReadFile("/proc/self/auxv")
	if os.IsNotExist(err) { // there is no /proc
		return os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid()
	}
	for ; uintptr(len(list)) >= 2*wordSize; list = list[2*wordSize:] {
		if *(*uintptr)(unsafe.Pointer(&list[0])) == atSecure {
			return *(*uintptr)(unsafe.Pointer(&list[wordSize])) != 0
		}
	}
	return true
}
