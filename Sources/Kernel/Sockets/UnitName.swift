// Finds the system unit of a process in its control group.
//
// Must never return a unit that a user's own service manager or a container made.

/// The system unit that a `/proc/PID/cgroup` names: the first component of the cgroup2 path that is not a slice.
/// Components below it are ignored, because a user's own service manager or a container can make them. The unit is then
/// `user@1000.service`, or the container's scope. Nil if there is no such unit.
package func unitName(inCgroups file: [UInt8]) -> String? {
    // If the last line has no end, the file was cut off, and the real name may be longer.
    guard let end = file.lastIndex(of: UInt8(ascii: "\n")) else { return nil }
    for line in file[..<end].split(separator: UInt8(ascii: "\n")) where line.starts(with: "0::/".utf8) {
        for component in line.dropFirst(4).split(separator: UInt8(ascii: "/")) {
            // systemd puts an underscore before a name that could be taken for a file of the kernel.
            let name = component.first == UInt8(ascii: "_") ? component.dropFirst() : component
            if name.hasSuffix(".slice") { continue }
            let isUnit = name.hasSuffix(".service") || name.hasSuffix(".scope")
            return isUnit ? String(decoding: name, as: UTF8.self) : nil
        }
    }
    return nil
}

extension ArraySlice<UInt8> {
    fileprivate func hasSuffix(_ suffix: String) -> Bool {
        count > suffix.utf8.count && self.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }
}
