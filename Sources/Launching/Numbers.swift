// Which file gets which number of a descriptor.
//
// Must never choose a number that the command inherits already: its caller meant something by it.

internal import Wire

/// The numbers under which a command has its files.
package struct Numbers: Equatable, Sendable {
    package private(set) var numbers: [KeyFile: Int32] = [:]

    package struct Fault: Error, Equatable, Sendable { package let description: String }

    /// Files that have a fixed number get it, the others the lowest free ones from 3 up, in order.
    /// - Parameters:
    ///   - sockets: how many sockets a service manager passes on (`LISTEN_FDS`); they begin at 3.
    ///   - isPassedOn: whether the command inherits a descriptor of that number.
    package init(
        _ options: LaunchOptions, sockets: Int, isPassedOn: (Int32) -> Bool
    ) throws(Fault) {
        let ofSockets = 3..<Int32(clamping: 3 + min(max(0, sockets), 1 << 20))
        for request in options.requests {
            guard let number = request.number else { continue }
            if let other = numbers.first(where: { $0.value == number })?.key {
                throw Fault(description: "\(request.written): \(other) has that number already; choose another")
            }
            guard !ofSockets.contains(number) else {
                throw Fault(
                    description: "\(request.written): \(number) is the number of a socket that the command inherits "
                        + "(LISTEN_FDS=\(sockets)); choose one from \(ofSockets.upperBound) up")
            }
            guard !isPassedOn(number) else {
                throw Fault(
                    description: "\(request.written): the command inherits a descriptor \(number) already; "
                        + "choose another number, or leave =\(number) out")
            }
            numbers[request.file] = number
        }
        var taken = Set(numbers.values)
        var next = ofSockets.upperBound
        for file in options.files where numbers[file] == nil {
            while taken.contains(next) || isPassedOn(next) { next += 1 }
            numbers[file] = next
            taken.insert(next)
        }
    }

    /// The path at which a program can open the file as often as it likes.
    package func path(_ file: KeyFile) -> String { numbers[file].map { "/proc/self/fd/\($0)" } ?? "" }
}
