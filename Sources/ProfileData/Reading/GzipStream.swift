// SPDX-License-Identifier: MIT

import Platform

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A gzip file read through zlib's `gzdopen`, `gzread`, `gzerror` and `gzclose` (zlib.h 1.2 and later).
final class GzipStream {
    // SAFETY: In this file functions are taken from zlib under the signatures of its header, and the handle is used
    // by one owner, between open and close.
    private typealias Open = @convention(c) (Int32, UnsafePointer<CChar>) -> OpaquePointer?
    private typealias Read = @convention(c) (OpaquePointer, UnsafeMutableRawPointer, UInt32) -> Int32
    private typealias ErrorText = @convention(c) (OpaquePointer, UnsafeMutablePointer<Int32>) -> UnsafePointer<CChar>?
    private typealias Close = @convention(c) (OpaquePointer) -> Int32

    private let library: DynamicLibrary
    private let handle: OpaquePointer
    private let readFunction: Read
    private let errorFunction: ErrorText
    private let closeFunction: Close
    private let path: String
    private var unpackedCount = 0

    /// Unpacks what `descriptor` refers to, from its current place; the descriptor stays the caller's.
    init(descriptor: Int32, path: String) throws(FathomError) {
        let library = try DynamicLibrary(
            "zlib to unpack \(path)", candidates: ["libz.so.1", "libz.so", "libz.dylib"],
            advice: "Install zlib1g, or unpack the file with gunzip.")
        let open = unsafeBitCast(try library.requiredSymbol("gzdopen"), to: Open.self)
        readFunction = unsafeBitCast(try library.requiredSymbol("gzread"), to: Read.self)
        errorFunction = unsafeBitCast(try library.requiredSymbol("gzerror"), to: ErrorText.self)
        closeFunction = unsafeBitCast(try library.requiredSymbol("gzclose"), to: Close.self)
        let copy = dup(descriptor)
        guard copy >= 0, let handle = open(copy, "rb") else {
            if copy >= 0 { close(copy) }
            throw FathomError(.io, "cannot open \(path): \(systemErrorText())")
        }
        self.library = library
        self.handle = handle
        self.path = path
    }

    deinit { _ = closeFunction(handle) }

    /// Unpacks up to `count` bytes to `buffer` from `start` on; 0 at the end.
    func read(into buffer: inout [UInt8], from start: Int, count: Int) throws(FathomError) -> Int {
        let wanted = UInt32(min(count, Int(Int32.max)))
        let read = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readFunction(handle, $0 + start, wanted) } ?? 0
        }
        var code: Int32 = 0
        let text = errorFunction(handle, &code).map { String(cString: $0) } ?? ""
        // A stream that ends in the middle gives what it had, and says Z_BUF_ERROR (-5).
        guard read >= 0, code >= 0 else {
            throw FathomError(
                .badData,
                "\(path): the gzip stream is damaged or cut after \(unpackedCount + Int(max(0, read))) unpacked bytes"
                    + (text.isEmpty ? "" : " (\(text))"))
        }
        unpackedCount += Int(read)
        return Int(read)
    }
}
