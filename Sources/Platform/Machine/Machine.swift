// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

#if os(Linux)
import CFathom
#endif

/// Facts about the machine and about this process on it.
public enum Machine {
    /// Processor cores that this process may use; at least 1. Respects `taskset`, cpusets and containers that pin.
    public static var coreCount: Int {
        #if os(Linux)
        let count = Int(fathom_usable_core_count())
        if count > 0 { return count }
        #endif
        return max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    /// Physical memory of the machine in bytes.
    public static var totalMemory: Int {
        sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
    }

    /// Memory that programs can still get without swapping, page cache included, in bytes; nil where the system does
    /// not tell.
    public static var availableMemory: Int? {
        ProcFile.field("MemAvailable", in: "/proc/meminfo").flatMap(kibibytes)
    }

    /// Names the time since the machine was started, in which its monotonic clock runs: the same for all processes on
    /// it; nil where the system does not tell.
    public static var bootName: String? {
        ProcFile.contents("/proc/sys/kernel/random/boot_id").map { $0.filter { !$0.isWhitespace } }
    }

    /// Physical memory that this process occupies now, in bytes; nil where the system does not tell.
    ///
    /// Mapped files count as far as their pages are present; `anonymousMemory` leaves them out.
    public static var residentMemory: Int? {
        ProcFile.field("VmRSS", in: "/proc/self/status").flatMap(kibibytes)
    }

    /// The part of `residentMemory` that belongs to no file.
    public static var anonymousMemory: Int? {
        ProcFile.field("RssAnon", in: "/proc/self/status").flatMap(kibibytes)
    }

    /// The highest `residentMemory` so far.
    public static var peakResidentMemory: Int? {
        ProcFile.field("VmHWM", in: "/proc/self/status").flatMap(kibibytes)
    }

    /// `"1234 kB"` in bytes.
    private static func kibibytes(_ text: String) -> Int? {
        text.split(separator: " ").first.flatMap { Int($0) }.map { $0 * 1024 }
    }
}

/// Reads the small text files of procfs and sysfs, whose reported sizes are wrong and which so cannot be mapped.
enum ProcFile {
    /// The value of the first line `name : value`; nil if there is no such file or line.
    static func field(_ name: String, in path: String) -> String? {
        guard let text = contents(path) else { return nil }
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            if trimmed(line[..<colon]) == name { return String(trimmed(line[line.index(after: colon)...])) }
        }
        return nil
    }

    /// The file's text, at most 1 MiB; nil if there is none.
    static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < 1 << 20 {
            let count = read(descriptor, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
