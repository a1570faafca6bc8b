// Puts another program in the place of this one.
//
// Must never change a byte of the program's arguments on their way: they need not be valid UTF-8. Must never leave the
// program a descriptor that neither its caller nor this program meant for it.

internal import CKernel
internal import Glibc
package import Kernel

/// A word of a command line, as the bytes that it consists of, without the final NUL.
package typealias Word = [UInt8]

/// Another program in the place of this one.
package enum Execution {
    /// Whether this descriptor is open and a program that is executed now would have it too. A descriptor that this
    /// program opened itself is close-on-exec, so it does not count. Calls `fcntl(F_GETFD)`.
    package static func isPassedOn(_ number: Int32) -> Bool { ck_survives_execution(number) != 0 }

    /// Until another program runs in this process, others of the same account can neither trace it nor read its memory,
    /// and it leaves no core dump. Calls `prctl(PR_SET_DUMPABLE)`.
    package static func forbidTracing() throws(Failure) { _ = try succeed(ck_forbid_tracing(), "prctl") }

    /// Sets a variable of the environment. No other thread may run. Calls `setenv(3)`.
    package static func set(_ variable: String, to value: String) throws(Failure) {
        // Safety: the call copies two NUL-terminated strings, and no other thread uses the environment.
        guard unsafe setenv(variable, value, 1) == 0 else { throw Failure("setenv", code: errno, on: variable) }
    }

    /// Whether the environment has a variable of this name, be it empty.
    package static func hasVariable(_ name: String) -> Bool {
        // Safety: the call reads a NUL-terminated string, and only whether there is a result is looked at.
        unsafe getenv(name) != nil
    }

    /// Executes a program in this process, found by `PATH`, with the environment, the signal mask and the ignored
    /// signals as they are. Returns only if that fails. Calls `dup2(2)` and `execvp(3)`.
    /// - Parameters:
    ///   - words: the program and its arguments; at least one.
    ///   - files: what it gets besides the descriptors that it inherits anyway.
    package static func replaceProcess(with words: [Word], passingOn files: [PassedFile]) -> Failure {
        var descriptors = files.map { file in file.descriptor.withNumber { $0 } }
        let numbers = files.map(\.number)
        // Safety: both arrays have as many elements as the call is told.
        let passed = unsafe ck_pass_on(&descriptors, numbers, numbers.count)
        guard passed >= 0 else { return Failure("dup2", code: -passed) }
        // Safety: the pointers are used only while they are valid.
        let result = unsafe withArguments(words) { arguments in
            // Safety: the array ends with NULL, and lives until the call returns, if it does.
            unsafe ck_execute(arguments)
        }
        return Failure("execve", code: -result, on: words.first.map { String(decoding: $0, as: UTF8.self) })
    }

    /// Passes the words to `body` as C has them: NUL-terminated, with NULL at the end.
    private static func withArguments(
        _ words: [Word], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) -> Int32 {
        // Safety: each word becomes a string of its own, which is freed when `body` has returned.
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { word in
            unsafe strdup((word + [0]).map { CChar(bitPattern: $0) })
        }
        // Safety: as above.
        defer { unsafe arguments.forEach { unsafe free($0) } }
        // NULL ends the arguments, so one that there was no memory for would cut them off.
        guard unsafe !arguments.contains(nil) else { return -ENOMEM }
        unsafe arguments.append(nil)
        return unsafe body(arguments)
    }
}

/// A file, and the number under which an executed program has it.
package final class PassedFile {
    let descriptor: Descriptor
    let number: Int32

    package init(_ descriptor: consuming Descriptor, as number: Int32) {
        self.descriptor = descriptor
        self.number = number
    }
}
