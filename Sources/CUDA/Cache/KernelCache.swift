// SPDX-License-Identifier: MIT

public import Platform
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Compiled kernels by what they are made from: in memory, and in a folder that processes share.
///
/// An entry is a file that appears whole or not at all, so two processes that compile one kernel at once are safe: each
/// writes the same content and the later rename wins. A damaged entry is compiled anew. Where the folder cannot be
/// written the kernel is compiled all the same, and that is said once.
public final class KernelCache: Sendable {
    /// Where a binary came from.
    public enum Origin: String, Sendable {
        case memory
        case disk
        case compiled
    }

    /// The folder of the entries. It is made when the first one is written.
    public let folder: String
    /// The compiler, and part of the key.
    public let compiler: RuntimeCompiler
    private let warn: @Sendable (String) -> Void

    private struct State {
        var binaries: [KernelSource: KernelBinary] = [:]
        var hasWarned = false
    }
    private let state = Mutex(State())

    /// - Parameters:
    ///   - folder: where the entries are; `defaultFolder` where left out.
    ///   - warn: told at most once that the folder cannot be written; standard error where left out.
    public init(
        compiler: RuntimeCompiler, folder: String = KernelCache.defaultFolder,
        warn: @escaping @Sendable (String) -> Void = KernelCache.writeToStandardError
    ) {
        self.compiler = compiler
        self.folder = folder
        self.warn = warn
    }

    private static let process: Result<KernelCache, FathomError> = {
        do throws(FathomError) {
            return .success(KernelCache(compiler: try RuntimeCompiler()))
        } catch {
            return .failure(error)
        }
    }()

    /// The process's cache: the compiler that is found first, and the default folder.
    ///
    /// - Throws: `unavailable` where there is no compiler.
    public static func shared() throws(FathomError) -> KernelCache { try process.get() }

    /// Writes one line to standard error.
    public static func writeToStandardError(_ text: String) {
        let line = Array("fathom: \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    /// `kernels` in `FATHOM_CACHE_DIR`, or in `fathom` in the user's folder for caches (XDG).
    public static var defaultFolder: String {
        if let chosen = Machine.environment("FATHOM_CACHE_DIR") { return FilePaths.join(chosen, "kernels") }
        let caches =
            Machine.environment("XDG_CACHE_HOME")
            ?? FilePaths.join(Machine.environment("HOME") ?? "/var/tmp", ".cache")
        return FilePaths.join(caches, "fathom/kernels")
    }

    /// The binary of `source`, compiled if no one did before.
    ///
    /// - Throws: `badData` with the compiler's log where the source is wrong.
    public func binary(for source: KernelSource) throws(FathomError) -> KernelBinary {
        try binaryAndOrigin(for: source).binary
    }

    /// The binary of `source`, and where it came from.
    public func binaryAndOrigin(
        for source: KernelSource
    ) throws(FathomError) -> (binary: KernelBinary, origin: Origin) {
        if let known = state.withLock({ $0.binaries[source] }) { return (known, .memory) }
        let ingredients = KernelCacheEntry.ingredients(of: source, compiler: compiler.identity)
        let path = path(ingredients: ingredients)
        let stored = Self.contents(of: path).flatMap { KernelCacheEntry.decode($0, ingredients: ingredients) }
        let binary: KernelBinary
        if let stored {
            binary = stored
        } else {
            binary = try compiler.compile(source)
            store(KernelCacheEntry.encode(binary, ingredients: ingredients), at: path)
        }
        state.withLock { $0.binaries[source] = binary }
        return (binary, stored == nil ? .compiled : .disk)
    }

    /// The file of `source`, whether it is there or not.
    public func path(for source: KernelSource) -> String {
        path(ingredients: KernelCacheEntry.ingredients(of: source, compiler: compiler.identity))
    }

    private func path(ingredients: [UInt8]) -> String {
        FilePaths.join(folder, "\(Murmur3(ingredients).text).kernel")
    }

    /// Writes an entry, or says once why that is not possible.
    private func store(_ bytes: [UInt8], at path: String) {
        do throws(FathomError) {
            try FilePaths.createFolder(folder)
            try AtomicFileWriter.write(bytes, path: path)
        } catch {
            let isFirst = state.withLock { state in
                defer { state.hasWarned = true }
                return !state.hasWarned
            }
            if isFirst { warn("kernels are compiled anew by each process, because \(error)") }
        }
    }

    private static func contents(of path: String) -> [UInt8]? {
        guard FilePaths.isRegularFile(path), let file = try? MappedFile(path: path) else { return nil }
        return file.withBytes { Array($0) }
    }

    /// Entries of a folder and their size together; both 0 where there is none.
    public static func usage(of folder: String) -> (entryCount: Int, byteCount: Int) {
        let entries = ((try? FilePaths.list(folder)) ?? []).filter { $0.hasSuffix(".kernel") }
        let sizes = entries.map { (try? FilePaths.byteCount(FilePaths.join(folder, $0))) ?? 0 }
        return (entries.count, sizes.reduce(0, +))
    }
}
