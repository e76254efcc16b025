// SPDX-License-Identifier: MIT

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A shared library that is loaded at run time; closed when the value dies.
///
/// Optional parts of the house are reached this way, so that nothing has to be there when it is built.
public struct DynamicLibrary: ~Copyable, @unchecked Sendable {
    // SAFETY: @unchecked Sendable because the handle is never changed, and the loader's calls are thread-safe.

    /// The name or path under which the library was found.
    public let name: String
    /// The file that the loader chose; `name` where it does not tell.
    public var path: String { Self.file(of: handle) ?? name }

    private let handle: UnsafeMutableRawPointer

    /// Opens the first of `candidates` that can be opened.
    ///
    /// - Parameters:
    ///   - purpose: what the library is, in a few words, for the message.
    ///   - candidates: file names for the loader's own search, or paths with a slash.
    ///   - advice: how to get it, for the message.
    /// - Throws: `unavailable`, with what was tried and why each one failed.
    public init(_ purpose: String, candidates: [String], advice: String) throws(FathomError) {
        var failures: [String] = []
        for candidate in candidates {
            // RTLD_LOCAL keeps two versions of one library apart.
            if let handle = dlopen(candidate, RTLD_NOW | RTLD_LOCAL) {
                self.name = candidate
                self.handle = handle
                return
            }
            failures.append(Self.reason(candidate: candidate))
        }
        let tried = failures.isEmpty ? "no place to look in" : failures.joined(separator: "; ")
        throw FathomError(.unavailable, "no \(purpose): \(tried). \(advice)")
    }

    deinit { dlclose(handle) }

    /// The address of a function or variable; nil where the library has none of that name.
    public func symbol(_ name: String) -> UnsafeMutableRawPointer? { dlsym(handle, name) }

    /// The address of a function or variable.
    ///
    /// - Throws: `unavailable`, naming the library's file, where it has none of that name.
    public func requiredSymbol(_ name: String) throws(FathomError) -> UnsafeMutableRawPointer {
        if let address = symbol(name) { return address }
        throw FathomError(.unavailable, "\(path) has no \(name): it is too old, or another library of that name")
    }

    /// Why the last `dlopen` failed.
    private static func reason(candidate: String) -> String {
        // SAFETY: dlerror returns nil or a NUL-terminated string of this thread, which is copied at once.
        let text = dlerror().map { String(cString: $0) } ?? "cannot be opened"
        return text.contains(candidate) ? text : "\(candidate): \(text)"
    }

    /// The file behind a handle.
    private static func file(of handle: UnsafeMutableRawPointer) -> String? {
        #if os(Linux)
        // A handle of glibc points to its `struct link_map`, whose second word is the name (link.h).
        // SAFETY: the library is open, so its link map and name live; the name is copied.
        let name = handle.load(fromByteOffset: MemoryLayout<UInt>.size, as: UnsafePointer<CChar>?.self)
        return name.map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        #else
        return nil
        #endif
    }
}
