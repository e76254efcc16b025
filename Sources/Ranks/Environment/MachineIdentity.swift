// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// On which machine this process runs.
enum MachineIdentity {
    /// Equal for processes that see each other's descriptors: one system, one space of process ids.
    static var name: String {
        var buffer = [UInt8](repeating: 0, count: maximumByteCount)
        // SAFETY: the system writes at most the buffer's size.
        let count = buffer.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { readlink("/proc/self/ns/pid", $0, buffer.count) } ?? 0
        }
        let space = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        return "\(firstLine("/proc/sys/kernel/random/boot_id")) \(space)"
    }

    /// The name that the machine calls itself.
    static var hostName: String { firstLine("/proc/sys/kernel/hostname") }

    private static let maximumByteCount = 256

    /// The first line of one of the system's small files; empty where there is none.
    private static func firstLine(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: maximumByteCount)
        // SAFETY: the system writes at most the buffer's size.
        let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        return String(decoding: buffer.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
