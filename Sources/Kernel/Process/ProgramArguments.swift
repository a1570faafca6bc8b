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
}
