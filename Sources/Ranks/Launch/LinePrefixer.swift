// SPDX-License-Identifier: MIT

/// Turns what a rank writes into whole lines with the rank before each.
package struct LinePrefixer {
    /// Longer lines are cut into several.
    package static let maximumLineByteCount = 64 << 10

    private let prefix: [UInt8]
    private var line: [UInt8] = []

    /// - Parameter width: digits of the largest rank.
    package init(rank: Int, width: Int) {
        let number = String(rank)
        let padding = String(repeating: " ", count: max(0, width - number.count))
        prefix = Array("[\(padding)\(number)] ".utf8)
    }

    /// The lines that `bytes` complete.
    package mutating func feed(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        for byte in bytes {
            line.append(byte)
            if byte == UInt8(ascii: "\n") || line.count == Self.maximumLineByteCount { output += finish() }
        }
        return output
    }

    /// The line that was begun, with an end.
    package mutating func finish() -> [UInt8] {
        guard let last = line.last else { return [] }
        defer { line = [] }
        return prefix + line + (last == UInt8(ascii: "\n") ? [] : [UInt8(ascii: "\n")])
    }
}
