// SPDX-License-Identifier: MIT

package import Platform

/// Tells checkpoints apart without reading them: ranks on several machines map folders of their own, which have to hold
/// the same model.
package enum CheckpointFingerprint {
    /// Places of each file that are looked at, evenly spread, and the bytes there.
    private static let samplesPerFile = 64
    private static let sampleByteCount = 64
    /// A header of more bytes than these is no header.
    private static let maximumHeader = 1 << 28

    /// A number for `config.json`, and of each safetensors file its name, size, header and samples of its data.
    ///
    /// - Throws: `missingInput` for a folder or file that is not there.
    package static func of(folder: String) throws(FathomError) -> UInt64 {
        var hash = FowlerNollVo()
        let names = try FilePaths.list(folder).filter { $0.hasSuffix(".safetensors") }.sorted()
        for name in [DeepSeekConfiguration.fileName] + names {
            let file = try MappedFile(path: FilePaths.join(folder, name))
            hash.add(Array(name.utf8))
            file.withBytes { bytes in
                hash.add(bytes.count)
                let isData = name.hasSuffix(".safetensors") && bytes.count >= 8
                let length = isData ? bytes.loadUnaligned(as: UInt64.self) : UInt64(bytes.count)
                let header = Int(min(length, UInt64(min(Self.maximumHeader, bytes.count))))
                hash.add(bytes[..<header])
                for sample in 0..<(isData ? samplesPerFile : 0) {
                    let start = (bytes.count - 1) * sample / max(samplesPerFile - 1, 1)
                    hash.add(bytes[max(0, start - sampleByteCount)..<min(bytes.count, start + 1)])
                }
            }
        }
        return hash.value
    }
}

/// The hash of Fowler, Noll and Vo, 64 bits.
private struct FowlerNollVo {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    mutating func add(_ number: Int) {
        for shift in 0..<8 { add(CollectionOfOne(UInt8(truncatingIfNeeded: number >> (8 * shift)))) }
    }
}
