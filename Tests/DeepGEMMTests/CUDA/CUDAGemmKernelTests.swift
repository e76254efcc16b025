// SPDX-License-Identifier: MIT

import CUDA
import DeepGEMM
import TestSupport
import Testing

/// The compiler at hand.
private let compiler: RuntimeCompiler? = {
    let compiler = try? RuntimeCompiler(candidates: RuntimeCompiler.candidates())
    if compiler == nil { print("SKIPPED: the GPU product's kernels are not compiled, because no NVRTC is there") }
    return compiler
}()

@Suite("The GPU product's kernels as machine code", .enabled(if: compiler != nil))
struct CUDAGemmKernelTests {
    /// Shapes whose kernels differ: the DeepGEMM table's, grouped ones, and BF16.
    static let shapes: [CUDAGemmShape] = [
        CUDAGemmShape(m: 64, n: 2112, k: 7168),
        CUDAGemmShape(m: 64, n: 24576, k: 1536),
        CUDAGemmShape(m: 128, n: 7168, k: 16384),
        CUDAGemmShape(m: 4096, n: 2112, k: 7168),
        CUDAGemmShape(m: 4096, n: 32768, k: 512),
        CUDAGemmShape(m: 4096, n: 7168, k: 16384),
        CUDAGemmShape(m: 4096, n: 4096, k: 7168, output: .float32),
        CUDAGemmShape(m: 32768, n: 4096, k: 7168, grouping: .ids, groups: 4),
        CUDAGemmShape(m: 256, n: 7168, k: 2048, grouping: .masked, groups: 4),
        CUDAGemmShape(m: 4096, n: 7168, k: 2048, element: .bfloat16),
        CUDAGemmShape(m: 16, n: 4096, k: 7168, element: .bfloat16),
        CUDAGemmShape(m: 4096, n: 4096, k: 4096, element: .bfloat16, output: .accumulatingFloat32),
        CUDAGemmShape(m: 8192, n: 4096, k: 4096, element: .bfloat16, grouping: .ids, groups: 8),
    ]

    @Test("No spills, no stack, the register budget taken, the right instructions", arguments: shapes)
    func kernel(_ shape: CUDAGemmShape) throws {
        let configuration = CUDAGemmPlan(shape).configuration
        try check(configuration)
    }

    @Test("Wide and narrow tiles at the edge of what the plan may choose")
    func extremes() throws {
        var c = CUDAGemmPlan(CUDAGemmShape(m: 4096, n: 4096, k: 4096)).configuration
        for (rows, columns, cluster) in [(64, 192, 1), (128, 160, 2), (256, 128, 2), (64, 16, 1), (128, 112, 1)] {
            (c.blockRows, c.blockColumns, c.cluster, c.sharesA) = (rows, columns, cluster, false)
            c.storeColumns = columns % 64 == 0 ? 64 : columns
            c.stages = 3
            try check(c)
        }
    }

    private func check(_ configuration: CUDAGemmConfiguration) throws {
        let compiler = try #require(compiler)
        let binary = try compiler.compile(configuration.source())
        let report = try #require(binary.report(CUDAGemmConfiguration.kernelName))
        #expect(!report.usesLocalMemory, "\(configuration): \(report)")
        #expect(!report.ignoresRegisterBudget, "\(configuration): \(binary.log)")
        #expect(!report.serializesMatrixInstructions, "\(configuration): \(binary.log)")
        #expect(report.staticSharedBytes == 0)
        #expect(configuration.sharedBytes <= CUDAGemmConfiguration.sharedByteLimit)

        guard let disassembler = Disassembler.found else { return }
        let instructions = try #require(
            try disassembler.instructions(of: binary.cubin)[CUDAGemmConfiguration.kernelName])
        let opcodes = Set(instructions.map(\.opcode))
        #expect(opcodes.contains(configuration.element == .float8E4M3 ? "QGMMA" : "HGMMA"))
        #expect(opcodes.isSuperset(of: ["UTMALDG", "SYNCS"]))
        #expect(opcodes.contains(configuration.output == .accumulatingFloat32 ? "UTMAREDG" : "UTMASTG"))
        #expect(opcodes.isDisjoint(with: ["HMMA", "LDL", "STL"]))
        if configuration.mathGroups == 2 { #expect(opcodes.contains("USETMAXREG")) }
        if configuration.cluster == 2 {
            #expect(instructions.contains { $0.name.contains("UTMALDG") && $0.name.contains("MULTICAST") })
        }
    }

    @Test("The kernel with a limit of waiting compiles as well")
    func waitLimit() throws {
        let compiler = try #require(compiler)
        let configuration = CUDAGemmPlan(CUDAGemmShape(m: 4096, n: 4096, k: 4096)).configuration
        let binary = try compiler.compile(configuration.source(waitLimitNanoseconds: 2_000_000_000))
        #expect(try #require(binary.report(CUDAGemmConfiguration.kernelName)).usesLocalMemory == false)
    }

    @Test(
        "The measure of the tensor cores keeps its sums in registers", arguments: CUDAGemmConfiguration.Element.allCases
    )
    func matrixRate(_ element: CUDAGemmConfiguration.Element) throws {
        let compiler = try #require(compiler)
        let binary = try compiler.compile(DeviceGemmBenchmark.matrixRateSource(element))
        let report = try #require(binary.report("fathom_matrix_rate"))
        #expect(!report.usesLocalMemory && !report.serializesMatrixInstructions, "\(binary.log)")
    }
}
