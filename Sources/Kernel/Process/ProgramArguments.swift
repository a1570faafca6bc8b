// The arguments that the program was started with.
//
// Must never be taken from `CommandLine`: the Swift runtime reads /proc/self/cmdline, so in a chroot without /proc it
// finds no argument at all. A program would then do what it does without arguments, and report success.

internal import CKernel
internal import Glibc

/// The command line of this program.
package enum ProgramArguments {
    /// All arguments after the program's name. A byte that is not UTF-8 becomes U+FFFD, as in `CommandLine`.
    package static let all: [String] = {
        var arguments: [String] = []
        // Safety: the strings are there as long as the process, and each is copied at once.
        while let argument = unsafe ck_argument(Int32(arguments.count + 1)) {
            unsafe arguments.append(String(cString: argument))
        }
        return arguments
    }()

    /// The same arguments, byte for byte, without the NUL at the end of each.
    package static var bytes: [[UInt8]] {
        var arguments: [[UInt8]] = []
        // Safety: as above.
        while let argument = unsafe ck_argument(Int32(arguments.count + 1)) {
            // Safety: as above.
            unsafe arguments.append(Array(UnsafeRawBufferPointer(start: argument, count: strlen(argument))))
        }
        return arguments
    }

    /// The path of the program itself. Nil if the kernel does not say it. Calls `readlink(2)`.
    package static var program: String? {
        var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
        // Safety: readlink writes at most as many bytes as the array holds.
        let length = unsafe path.withUnsafeMutableBytes { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            return unsafe readlink("/proc/self/exe", start, bytes.count)
        }
        guard length > 0, length < path.count else { return nil }
        return String(decoding: path[..<length], as: UTF8.self)
    }

    /// Whether this process may execute the file at `path`. Calls `access(2)`.
    package static func canExecute(_ path: String) -> Bool {
        guard !path.hasNUL else { return false }
        // Safety: access reads the string, which ends with NUL.
        return unsafe access(path, X_OK) == 0
    }
}
