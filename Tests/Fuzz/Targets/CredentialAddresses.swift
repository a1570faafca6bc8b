// The name of the service manager's socket, and the unit of a process: both are names that the kernel passes on.

import Kernel
import Wire

func tryCredentialAddress(_ bytes: [UInt8]) throws(Broken) {
    if let address = CredentialAddress(socketName: bytes) {
        let name = String(decoding: bytes, as: UTF8.self)
        try require(name.hasSuffix("/unit/\(address.unit)/\(address.id)"), "the parts are the end of the name")
        try require(bytes.count { $0 == UInt8(ascii: "/") } == 3, "the name has three slashes")
        try require(bytes.count { $0 == 0 } == 1, "the name has one NUL, at its begin")
        try require(!address.unit.contains("*") && address.unit.hasSuffix(".service"), "the unit is a service")
        try require(isPrintable(address.id.utf8) && address.id != "..", "the ID is a printable file name")
    }
    if let unit = unitName(inCgroups: bytes) {
        try require(unit.hasSuffix(".service") || unit.hasSuffix(".scope"), "a unit is a service or a scope")
        try require(!unit.contains("/") && !unit.contains("\n"), "a unit is one component")
    }
}
