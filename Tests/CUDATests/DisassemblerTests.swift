// SPDX-License-Identifier: MIT

import CUDA
import TestSupport
import Testing

@Suite(.enabled(if: Compilers.areThere && Disassembler.found != nil))
struct DisassemblerTests {
    @Test("the instructions of a kernel are told by name", arguments: Compilers.all)
    func instructions(compiler: RuntimeCompiler) throws {
        let binary = try compiler.compile(SmallKernels.scale)
        let all = try #require(Disassembler.found).instructions(of: binary.cubin)
        #expect(Set(all.keys) == [binary.symbol("scale<2>"), "plain"])
        let scale = try #require(all[binary.symbol("scale<2>")])
        #expect(scale.contains { $0.opcode == "FMUL" })
        #expect(scale.contains { $0.opcode == "LDG" })
        #expect(scale.contains { $0.name.hasPrefix("STG.E") && $0.operands.contains("desc") })
        #expect(try #require(all["plain"]).allSatisfy { $0.opcode != "FMUL" })
    }

    @Test("a predicate is not taken for the instruction", arguments: Compilers.all)
    func predicates(compiler: RuntimeCompiler) throws {
        let source = KernelSource(
            name: "p.cu", text: "extern \"C\" __global__ void p(int *a) { if (a[0] > 3) __trap(); a[1] = 2; }")
        let all = try #require(Disassembler.found).instructions(of: try compiler.compile(source).cubin)
        #expect(try #require(all["p"]).contains { $0.opcode == "EXIT" })
        #expect(try #require(all["p"]).allSatisfy { !$0.name.hasPrefix("@") })
    }
}
