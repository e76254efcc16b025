// SPDX-License-Identifier: MIT

import CUDA
import FlashMLA
import TestSupport
import Testing

/// The compiler at hand.
private let compiler: RuntimeCompiler? = {
    let compiler = try? RuntimeCompiler(candidates: RuntimeCompiler.candidates())
    if compiler == nil { print("SKIPPED: the GPU attention kernels are not compiled, because no NVRTC is there") }
    return compiler
}()

@Suite("The GPU attention kernels as machine code", .enabled(if: compiler != nil))
struct CUDAMLAKernelTests {
    @Test(
        "No spills, no stack, the register budget taken, the right instructions",
        arguments: CUDAMLAKernel.Element.allCases, [false, true])
    func kernels(element: CUDAMLAKernel.Element, isSparse: Bool) throws {
        let compiler = try #require(compiler)
        let binary = try compiler.compile(CUDAMLAKernel(element, isSparse: isSparse).source())
        for name in [CUDAMLAKernel.attention, CUDAMLAKernel.schedule, CUDAMLAKernel.combine] {
            let report = try #require(binary.report(name))
            #expect(!report.usesLocalMemory, "\(name): \(report)")
            #expect(!report.ignoresRegisterBudget, "\(name): \(binary.log)")
            #expect(!report.serializesMatrixInstructions, "\(name): \(binary.log)")
            #expect(report.staticSharedBytes == 0)
        }
        // 65536 registers for 384 threads.
        #expect(try #require(binary.report(CUDAMLAKernel.attention)).registers <= 168)
        #expect(CUDAMLAKernel.sharedBytes <= 232_448)
        guard let disassembler = Disassembler.found else { return }
        let instructions = try #require(try disassembler.instructions(of: binary.cubin)[CUDAMLAKernel.attention])
        let opcodes = Set(instructions.map(\.opcode))
        #expect(opcodes.isSuperset(of: ["HGMMA", "SYNCS", "USETMAXREG", "STSM"]))
        #expect(opcodes.contains("UTMALDG") == !isSparse)
        #expect(opcodes.isDisjoint(with: ["HMMA", "LDL", "STL"]))
        // Nine boxes of four products for both warpgroups' scores, four own and four shared weights for both halves.
        #expect(instructions.count { $0.opcode == "HGMMA" } == 2 * (9 * 4 + 4 + 4))
    }

    @Test("The kernel with a limit of waiting compiles as well")
    func waitLimit() throws {
        let binary = try #require(compiler)
            .compile(CUDAMLAKernel(.bfloat16).source(waitLimitNanoseconds: 2_000_000_000))
        #expect(try #require(binary.report(CUDAMLAKernel.attention)).usesLocalMemory == false)
    }
}
