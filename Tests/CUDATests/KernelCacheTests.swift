// SPDX-License-Identifier: MIT

import CUDA
import Platform
import Synchronization
import TestSupport
import Testing

@Suite(.enabled(if: Compilers.areThere))
struct KernelCacheTests {
    private let compiler: RuntimeCompiler

    init() throws { compiler = try #require(Compilers.all.first) }

    @Test("a kernel is compiled once, then read from disk by the next process and from memory by this one")
    func remembers() throws {
        try withTemporaryFolder { folder in
            let first = KernelCache(compiler: compiler, folder: folder)
            let compiled = try first.binaryAndOrigin(for: SmallKernels.scale)
            #expect(compiled.origin == .compiled)
            #expect(try first.binaryAndOrigin(for: SmallKernels.scale).origin == .memory)
            let stored = try KernelCache(compiler: compiler, folder: folder).binaryAndOrigin(for: SmallKernels.scale)
            #expect(stored.origin == .disk)
            #expect(stored.binary == compiled.binary)
            #expect(KernelCache.usage(of: folder).entryCount == 1)
            #expect(KernelCache.usage(of: folder).byteCount > compiled.binary.cubin.count)
        }
    }

    @Test("an entry that is cut or changed anywhere is compiled anew and replaced", arguments: 0..<12)
    func repairs(damage: Int) throws {
        try withTemporaryFolder { folder in
            let cache = KernelCache(compiler: compiler, folder: folder)
            let good = try cache.binary(for: SmallKernels.scale)
            let path = cache.path(for: SmallKernels.scale)
            var bytes = try MappedFile.read(path: path)
            if damage < 4 {
                bytes = Array(bytes.prefix([0, 7, 40, bytes.count - 1][damage]))
            } else if damage == 4 {
                bytes.append(0)
            } else {
                let place = (damage - 5) * (bytes.count - 1) / 6
                bytes[place] ^= 0x10
            }
            try AtomicFileWriter.write(bytes, path: path)
            let again = try KernelCache(compiler: compiler, folder: folder).binaryAndOrigin(for: SmallKernels.scale)
            #expect(again.origin == .compiled)
            #expect(again.binary == good)
            let last = try KernelCache(compiler: compiler, folder: folder).binaryAndOrigin(for: SmallKernels.scale)
            #expect(last.origin == .disk)
        }
    }

    @Test("a source that does not compile leaves nothing behind")
    func keepsNoFailures() throws {
        try withTemporaryFolder { folder in
            let cache = KernelCache(compiler: compiler, folder: folder)
            expectFailure(.badData, naming: ["bad.cu"]) { () throws(FathomError) in
                _ = try cache.binary(for: KernelSource(name: "bad.cu", text: "nonsense"))
            }
            #expect(KernelCache.usage(of: folder).entryCount == 0)
        }
    }

    @Test("where the folder cannot be written, kernels are compiled and that is said once")
    func worksWithoutFolder() throws {
        try withTemporaryFolder { folder in
            let file = FilePaths.join(folder, "file")
            try AtomicFileWriter.write("in the way", path: file)
            let warnings = Mutex<[String]>([])
            let cache = KernelCache(compiler: compiler, folder: FilePaths.join(file, "kernels")) { text in
                warnings.withLock { $0.append(text) }
            }
            #expect(try cache.binaryAndOrigin(for: SmallKernels.scale).origin == .compiled)
            var other = SmallKernels.scale
            other.options = ["-DOTHER"]
            #expect(try cache.binaryAndOrigin(for: other).origin == .compiled)
            let said = warnings.withLock { $0 }
            #expect(said.count == 1)
            #expect(said.first?.contains(file) == true)
        }
    }

    @Test("threads that ask for one kernel at once all get it")
    func threads() async throws {
        let temporary = try TemporaryFolder()
        let folder = temporary.path
        let compiler = compiler
        try await withThrowingTaskGroup(of: KernelBinary.self) { group in
            for _ in 0..<4 {
                // A cache each, as processes have.
                group.addTask {
                    try KernelCache(compiler: compiler, folder: folder).binary(for: SmallKernels.scale)
                }
            }
            var binaries: [KernelBinary] = []
            for try await binary in group { binaries.append(binary) }
            #expect(binaries.allSatisfy { $0 == binaries[0] })
        }
        #expect(try FilePaths.list(folder).count == 1)
    }
}

@Suite struct KernelCacheKeyTests {
    private static let base = KernelSource(
        name: "a.cu", text: "text", headers: [.init(name: "h", text: "header")], options: ["-DA", "-DB"],
        nameExpressions: ["f<1>"], architecture: "sm_90a")

    private static let changes: [(String, @Sendable (inout KernelSource) -> Void)] = [
        ("the name", { $0.name = "b.cu" }),
        ("the text", { $0.text += " " }),
        ("a header's name", { $0.headers[0].name = "g" }),
        ("a header's text", { $0.headers[0].text = "Header" }),
        ("one more header", { $0.headers.append(.init(name: "", text: "")) }),
        ("an option", { $0.options[0] = "-DC" }),
        ("the options' border", { $0.options = ["-DA-DB"] }),
        ("the options' order", { $0.options.reverse() }),
        ("a name expression", { $0.nameExpressions = ["f<2>"] }),
        ("the architecture", { $0.architecture = "sm_90" }),
        (
            "the border of name and text",
            {
                $0.name = "a.cut"; $0.text = "ext"
            }
        ),
    ]

    @Test("each ingredient changes the key", arguments: changes.indices)
    func ingredient(index: Int) {
        var changed = Self.base
        Self.changes[index].1(&changed)
        #expect(
            KernelCacheEntry.ingredients(of: changed, compiler: "nvrtc 12.9")
                != KernelCacheEntry.ingredients(of: Self.base, compiler: "nvrtc 12.9"), "\(Self.changes[index].0)")
    }

    @Test("the compiler's version changes the key")
    func version() {
        #expect(
            KernelCacheEntry.ingredients(of: Self.base, compiler: "nvrtc 12.9")
                != KernelCacheEntry.ingredients(of: Self.base, compiler: "nvrtc 13.0"))
    }

    @Test("an entry of other ingredients is not taken, even under the right name")
    func collision() {
        let binary = KernelBinary(cubin: [1, 2, 3], symbols: ["f<1>": "_Z1f"], log: "log")
        let bytes = KernelCacheEntry.encode(binary, ingredients: [1])
        #expect(KernelCacheEntry.decode(bytes, ingredients: [1]) == binary)
        #expect(KernelCacheEntry.decode(bytes, ingredients: [2]) == nil)
    }

    @Test(
        "the hash gives the values that others publish",
        arguments: [
            ("", "00000000000000000000000000000000"),
            ("hello", "cbd8a7b341bd9b025b1e906a48ae1d19"),
            ("hello, world", "342fac623a5ebc8e4cdcbc079642414d"),
            ("The quick brown fox jumps over the lazy dog.", "cd99481f9ee902c9695da1a38987b6e7"),
        ])
    func hash(text: String, value: String) {
        #expect(Murmur3(Array(text.utf8)).text == value)
    }
}
