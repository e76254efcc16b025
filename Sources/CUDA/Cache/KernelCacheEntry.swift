// SPDX-License-Identifier: MIT

/// The file of one compiled kernel.
///
/// Little-endian: 8 bytes `FATHOMK1`; four 64-bit lengths; 16 bytes Murmur3 of the lengths and of everything behind;
/// then ingredients, symbols, log and machine code. The ingredients tell a reader that the entry is the one that
/// it asked for, and a person what the kernel was made from.
package enum KernelCacheEntry {
    static let magic = Array("FATHOMK1".utf8)
    private static let lengthCount = 4
    private static let headerByteCount = 8 + 8 * lengthCount + 16

    /// Everything that decides the machine code, each piece behind its length.
    package static func ingredients(of source: KernelSource, compiler: String) -> [UInt8] {
        var bytes: [UInt8] = []
        func add(_ text: String) {
            let utf8 = Array(text.utf8)
            bytes += Array("\(utf8.count):".utf8) + utf8
        }
        func add(_ texts: [String]) {
            add("\(texts.count)")
            for text in texts { add(text) }
        }
        add(compiler)
        add(source.architecture)
        add(source.allOptions)
        add(source.nameExpressions)
        add(source.name)
        add(source.headers.flatMap { [$0.name, $0.text] })
        add(source.text)
        return bytes
    }

    /// The bytes of the file.
    package static func encode(_ binary: KernelBinary, ingredients: [UInt8]) -> [UInt8] {
        // Symbols and name expressions hold no NUL.
        let symbols = binary.symbols.sorted { $0.key < $1.key }.map { "\($0.key)\0\($0.value)\0" }.joined()
        let parts = [ingredients, Array(symbols.utf8), Array(binary.log.utf8), binary.cubin]
        var content: [UInt8] = []
        for part in parts { append(UInt64(part.count), to: &content) }
        for part in parts { content += part }
        let hash = Murmur3(content)
        var bytes = magic + content[..<(8 * lengthCount)]
        append(hash.low, to: &bytes)
        append(hash.high, to: &bytes)
        return bytes + content[(8 * lengthCount)...]
    }

    /// The binary in a file's bytes; nil where they are damaged or belong to other ingredients.
    package static func decode(_ bytes: [UInt8], ingredients: [UInt8]) -> KernelBinary? {
        guard bytes.count >= headerByteCount, bytes.starts(with: magic) else { return nil }
        let lengths = (0..<lengthCount).map { word(bytes, 8 + 8 * $0) }
        let rest = UInt64(bytes.count - headerByteCount)
        guard lengths.allSatisfy({ $0 <= rest }), lengths.reduce(0, &+) == rest else { return nil }
        let hash = Murmur3(Array(bytes[8..<(headerByteCount - 16)] + bytes[headerByteCount...]))
        guard hash.low == word(bytes, headerByteCount - 16), hash.high == word(bytes, headerByteCount - 8) else {
            return nil
        }
        var offset = headerByteCount
        let parts = lengths.map { length in
            defer { offset += Int(length) }
            return bytes[offset..<(offset + Int(length))]
        }
        guard parts[0].elementsEqual(ingredients), !parts[3].isEmpty else { return nil }
        let names = parts[1].split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        guard names.count.isMultiple(of: 2) else { return nil }
        var symbols: [String: String] = [:]
        for index in stride(from: 0, to: names.count, by: 2) { symbols[names[index]] = names[index + 1] }
        return KernelBinary(cubin: Array(parts[3]), symbols: symbols, log: String(decoding: parts[2], as: UTF8.self))
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    private static func word(_ bytes: [UInt8], _ start: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
    }
}
