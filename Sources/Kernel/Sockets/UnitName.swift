// The system unit that a process runs in, out of its control group.
//
// Must never take for a unit what a user's own service manager, or a container, made.

/// The system unit that a `/proc/PID/cgroup` names: the first component of the cgroup2 path that is not
/// a slice. What a user's own service manager, or a container, made below that counts for nothing: the
/// unit is then `user@1000.service`, or the container's scope.
package func unitName(inCgroups file: [UInt8]) -> String? {
    // A line without its end was cut off, and what it names may be longer.
    guard let end = file.lastIndex(of: UInt8(ascii: "\n")) else { return nil }
    for line in file[..<end].split(separator: UInt8(ascii: "\n")) where line.starts(with: "0::/".utf8) {
        for component in line.dropFirst(4).split(separator: UInt8(ascii: "/")) {
            // systemd puts an underscore before a name that would read as something of the kernel's.
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
