// SPDX-License-Identifier: MIT

import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The bytes of a trace file, front to back: as they are, or unpacked where the file is gzip.
///
/// gzip comes from the system's zlib, loaded at run time: every Linux distribution's base system has it, so it costs
/// neither a build dependency nor an inflater of our own, and its file functions need no structure mirrored in Swift.
struct TraceBytes: ~Copyable {
    // SAFETY: In this file addresses are handed to read(2) and zlib for the duration of a call only, and each lies
    // inside a buffer that the caller holds.

    let path: String
    private let descriptor: Int32
    private let gzip: GzipStream?

    /// Opens `path`; two first bytes 1F 8B say that it is gzip.
    ///
    /// - Throws: `missingInput` where it cannot be opened; `unavailable` where it is gzip and there is no zlib.
    init(path: String) throws(FathomError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw FathomError(.missingInput, "cannot open \(path): \(systemErrorText())")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw FathomError(.missingInput, "\(path) is a folder; a trace file is legal")
        }
        var magic: (UInt8, UInt8) = (0, 0)
        let isGzip = pread(descriptor, &magic, 2, 0) == 2 && magic == (0x1F, 0x8B)
        do throws(FathomError) {
            gzip = isGzip ? try GzipStream(descriptor: descriptor, path: path) : nil
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Reads into `buffer` from `start` on; returns how many bytes came, 0 at the end.
    ///
    /// - Throws: `io` where the system fails, `badData` where the packed stream is damaged or cut.
    mutating func read(into buffer: inout [UInt8], from start: Int, count: Int) throws(FathomError) -> Int {
        precondition(start >= 0 && count > 0 && start + count <= buffer.count, "the piece lies inside the buffer")
        if let gzip { return try gzip.read(into: &buffer, from: start, count: count) }
        while true {
            let descriptor = descriptor
            let read = buffer.withUnsafeMutableBytes { bytes in
                bytes.baseAddress.map { Self.read(descriptor, $0 + start, count) } ?? 0
            }
            if read >= 0 { return read }
            guard errno == EINTR else {
                throw FathomError(.io, "cannot read \(path): \(systemErrorText())")
            }
        }
    }

    private static func read(_ descriptor: Int32, _ address: UnsafeMutableRawPointer, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.read(descriptor, address, count)
        #elseif canImport(Musl)
        Musl.read(descriptor, address, count)
        #else
        Darwin.read(descriptor, address, count)
        #endif
    }
}
