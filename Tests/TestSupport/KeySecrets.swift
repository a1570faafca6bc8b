// What must not be found of a private key where it has not been, or is no more.

internal import Foundation

package struct KeySecrets {
    /// Parts of each secret number of the key, as bytes from both ends, and of the file's text.
    private var parts: [(name: String, bytes: Data)] = []

    /// - Parameter file: a private key in PEM.
    package init(of file: String) throws {
        let result = try Program.run(installed("openssl") ?? "openssl", ["pkey", "-in", file, "-noout", "-text"])
        var numbers: [(name: String, bytes: [UInt8])] = []
        for line in result.output.split(separator: "\n") {
            if !line.hasPrefix(" ") {
                numbers.append((line.split(separator: ":").first.map(String.init) ?? "", []))
            } else if !numbers.isEmpty {
                numbers[numbers.count - 1].bytes += line.split(whereSeparator: { ": ".contains($0) })
                    .compactMap { UInt8($0, radix: 16) }
            }
        }
        for (name, bytes) in numbers where bytes.count >= 16 && !["pub", "modulus"].contains(name) {
            for start in [1, bytes.count / 2 - 8, bytes.count - 16] {
                let part = Data(bytes[max(0, start)..<max(0, start) + 15])
                parts.append(("\(name) at \(start)", part))
                parts.append(("\(name) at \(start), reversed", Data(part.reversed())))
            }
        }
        let text = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").filter {
            !$0.hasPrefix("-")
        }
        for (number, line) in text.enumerated() where line.count >= 32 {
            // The last bytes of a text can be those of the public half; an Ed25519 key has one line, without it.
            if number < text.count / 2 || text.count == 1 {
                parts.append(("line \(number)", Data(line.utf8.suffix(24))))
            }
        }
        guard result.status == 0, parts.count >= 6 else { throw Waited(description: "\(file): \(result.errors)") }
    }

    /// Which of them are in memory that the process could write to, whether or not a core dump would have that part.
    /// - Parameter least: how many bytes of memory there must be, or it was not read.
    package func found(in pid: Int32, least: Int = 1 << 16) throws -> Set<String> {
        let memory = try FileHandle(forReadingFrom: URL(fileURLWithPath: "/proc/\(pid)/mem"))
        var found: Set<String> = []
        var total = 0
        for line in try String(contentsOfFile: "/proc/\(pid)/maps", encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ")
            let ends = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            // The code and the constants of libraries are no one's secret.
            guard ends.count == 2, words[1].hasPrefix("rw") else { continue }
            try memory.seek(toOffset: ends[0])
            guard let bytes = try? memory.read(upToCount: Int(ends[1] - ends[0])) else { continue }
            total += bytes.count
            for part in parts where bytes.range(of: part.bytes) != nil { found.insert(part.name) }
        }
        guard total > least else { throw Waited(description: "the memory of \(pid) was not read") }
        return found
    }
}
