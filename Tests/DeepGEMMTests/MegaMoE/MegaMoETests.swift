// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import LowPrecision
import Platform
import Tensors
import TestSupport
import Testing

@Suite("Mega MoE")
struct MegaMoETests {
    @Test(
        "Agrees with the reference in every form, odd sizes, clamps and shared experts",
        arguments: TestMoE.Form.allCases)
    func reference(form: TestMoE.Form) throws {
        let context = try ComputeContext(threadCount: 2)
        for (tokens, experts, topK, hidden, intermediate, shared) in [
            (1, 1, 1, 32, 32, 0), (9, 3, 2, 70, 44, 0), (20, 3, 3, 130, 96, 1), (7, 4, 2, 64, 160, 2),
        ] {
            for clamp in [nil, Float(1.5)] {
                let moe = TestMoE(
                    form, tokens: tokens, experts: experts, topK: topK, hidden: hidden, intermediate: intermediate,
                    shared: shared)
                let options = MegaMoEOptions(clamp: clamp)
                let expected = referenceMegaMoE(
                    moe.x.operand, moe.choices, moe.layer, shared: moe.shared, options: options)
                let found = try moe.fused(options, on: context)
                found.y.expect(
                    [expected.map { $0.map { Double($0) } }], within: 1e-4,
                    "\(form), \(tokens) tokens, clamp \(clamp ?? .infinity)")
                #expect(
                    found.counts
                        == (0..<experts).map { e in
                            (0..<tokens * topK).count { moe.experts.start[$0] == e }
                        })
            }
        }
    }

    @Test(
        "Bit for bit what products, SiLU, the quantiser and sums make one by one, on every level and thread count",
        arguments: InstructionSetLevel.available, TestMoE.Form.allCases)
    func bits(level: InstructionSetLevel, form: TestMoE.Form) throws {
        let one = try ComputeContext(threadCount: 1, level: level)
        let three = try ComputeContext(threadCount: 3, level: level)
        let workspace = MegaMoEWorkspace()
        for (tokens, shared, between) in [
            (3, 0, nil), (70, 1, nil), (40, 0, MegaMoEOptions.Intermediate.bfloat16), (30, 2, .float8E4M3),
        ] as [(Int, Int, MegaMoEOptions.Intermediate?)] {
            let moe = TestMoE(
                form, tokens: tokens, experts: 3, topK: 3, hidden: 136, intermediate: 100, shared: shared, seed: 7)
            let options = MegaMoEOptions(clamp: shared == 1 ? 2 : nil, intermediate: between)
            let usual: MegaMoEOptions.Intermediate = form == .bfloat16 ? .bfloat16 : .float8E4M3
            let expected = try moe.unfused(options, form: between ?? usual, on: three)
            let found = try moe.fused(options, workspace: workspace, on: three).y
            #expect(found.bits == expected, "\(tokens) tokens")
            #expect(try moe.fused(options, on: one).y.bytes == found.bytes, "\(tokens) tokens")
        }
    }

    @Test("A token's bits do not depend on the others", arguments: [TestMoE.Form.float8, .blocks])
    func independence(form: TestMoE.Form) throws {
        let context = try ComputeContext(threadCount: 2)
        let moe = TestMoE(form, tokens: 60, experts: 5, topK: 3, hidden: 128, intermediate: 160, shared: 1)
        let all = try moe.fused(on: context).y
        for token in [0, 3, 17, 59] {
            let y = TestResult(.bfloat16, rows: 1, columns: 128)
            var x = moe.x.operand
            x.baseAddress += token * x.stride
            let scaleStride = (x.scales?.rowStride ?? 0) * (x.scales?.encoding == .float32 ? 4 : 1)
            x.scales?.baseAddress += token * scaleStride
            x.rowCount = 1
            try megaMoE(
                x,
                MegaMoEChoices(
                    tokenCount: 1, topK: 3, experts: moe.experts.start + 3 * token,
                    weights: moe.weights.start + 3 * token),
                moe.layer, shared: moe.shared, into: y.result, on: context)
            #expect(y.rowBytes(0) == all.rowBytes(token), "token \(token)")
        }
    }

    @Test("Nothing to do is done: no tokens, no choices, no experts, no inner columns; a token without experts gets 0")
    func empty() throws {
        let context = try ComputeContext(threadCount: 2)
        for (tokens, experts, topK, intermediate) in [(0, 2, 2, 8), (4, 2, 0, 8), (4, 2, 2, 0)] {
            let moe = TestMoE(
                .bfloat16, tokens: tokens, experts: experts, topK: topK, hidden: 24, intermediate: intermediate)
            let y = try moe.fused(on: context).y
            #expect(y.bits.allSatisfy { $0.allSatisfy { $0 == 0 } })
        }
        let moe = TestMoE(.float8, tokens: 8, experts: 2, topK: 2, hidden: 64, intermediate: 32)
        let y = try moe.fused(on: context).y
        #expect(y.bits[3].allSatisfy { $0 == 0 } && !y.bits[0].allSatisfy { $0 == 0 })
    }

    @Test("A NaN makes its token NaN and no other")
    func notANumber() throws {
        let context = try ComputeContext(threadCount: 1)
        let moe = TestMoE(.float8, tokens: 5, experts: 1, topK: 1, hidden: 64, intermediate: 64)
        for choice in 0..<5 {
            moe.experts.start[choice] = 0
            moe.weights.start[choice] = choice == 2 ? .nan : 1
        }
        let bits = try moe.fused(on: context).y.bits
        for token in 0..<5 {
            #expect(bits[token].allSatisfy { Float(BFloat16(bitPattern: $0)).isNaN == (token == 2) }, "token \(token)")
        }
    }

    @Test("FP8 results have scales for 32 and 64 columns too", arguments: [32, 64])
    func narrowScales(blockColumns: Int) throws {
        let context = try ComputeContext(threadCount: 2)
        for m in [3, 70] {
            let a = TestOperand(.float32, rows: m, columns: 64, seed: 1)
            let b = TestOperand(.bfloat16, rows: 300, columns: 64, seed: 2)
            let plain = TestResult(.float32, rows: m, columns: 300, gap: 0)
            try gemm(a.operand, b.operand, into: plain.result, on: context)
            let blocks = (300 + blockColumns - 1) / blockColumns
            let codes = GuardedBuffer<UInt8>(count: m * 300, repeating: 1)
            let scales = GuardedBuffer<UInt8>(count: m * blocks, repeating: 1)
            try gemm(
                a.operand, b.operand,
                into: MatrixResult(
                    codes.start, .float8E4M3, stride: 300,
                    scales: ResultScales(scales.start, .ue8m0, rowStride: blocks, blockColumns: blockColumns)),
                on: context)
            let expected = referenceQuantize(
                (0..<m * 300).map { plain.value(group: 0, row: $0 / 300, column: $0 % 300) }, rowCount: m,
                columnCount: 300, format: .float8E4M3, granularity: .perToken(blockColumns), powerOfTwoScales: true)
            #expect(codes.values == expected.codes)
            #expect(scales.values == expected.scales.map { UE8M0(clampingUp: $0).bitPattern })
            #expect(codes.isIntact && scales.isIntact)
        }
    }
}
