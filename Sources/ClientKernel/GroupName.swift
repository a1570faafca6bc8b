// Which group a file belongs to, for the text of an error: its members may do what the caller may not.
//
// Must never load a module of the name service into a program that only links the library: it reads /etc/group.

package import Kernel

extension FileStatus {
    /// The name of the file's group, or its number if `/etc/group` does not have it.
    package var groupName: String {
        let file = try? readSmallFile("/etc/group", limit: 1 << 20)
        for line in String(decoding: file ?? [], as: UTF8.self).split(separator: "\n") {
            // NAME:PASSWORD:NUMBER:MEMBERS
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 4, fields[2] == String(group) { return String(fields[0]) }
        }
        return String(group)
    }
}

/// The group that may connect to a socket. If the socket cannot be seen, it is the one that a broker takes if nobody
/// names another.
package func groupOfSocket(_ path: String) -> String {
    ((try? statusFollowing(path)) ?? nil)?.groupName ?? "keyusers"
}
