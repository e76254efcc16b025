// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

@Suite("Mega MoE misuse")
struct MegaMoEMisuseTests {
    /// The arguments of a call, to be spoiled.
    private struct Call {
        var x: MatrixOperand
        var choices: MegaMoEChoices
        var weights: MegaMoEWeights
        var shared: MegaMoEWeights?
        var y: MatrixResult
        var options = MegaMoEOptions()
    }

    @Test("What does not fit is named with what is legal, and nothing is written")
    func refusals() throws {
        let context = try ComputeContext(threadCount: 1)
        let moe = TestMoE(.float8, tokens: 4, experts: 2, topK: 2, hidden: 64, intermediate: 32, shared: 1)
        let cases: [([String], (inout Call) -> Void)] = [
            (["gateUp of 64 columns", "60"], { $0.x.columnCount = 60 }),
            (["4 tokens", "5 rows"], { $0.x.rowCount = 5 }),
            (["2 matrices", "one matrix"], { $0.x.groupCount = 2 }),
            (["2 matrices gateUp", "1 matrices down"], { $0.weights.down.groupCount = 1 }),
            (["gateUp of 62 rows", "twice"], { $0.weights.gateUp.rowCount = 62 }),
            (["down of 63 rows", "64"], { $0.weights.down.rowCount = 63 }),
            (
                ["shared experts", "16 columns"],
                {
                    $0.shared?.gateUp.rowCount = 32; $0.shared?.down.columnCount = 16
                }
            ),
            (["fp32", "bf16"], { $0.y.format = .float32 }),
            (["D = y", "stride of 60"], { $0.y.stride = 60 }),
            (["multiple of 2"], { $0.y.baseAddress += 1 }),
            (["A = x", "stride of 10"], { $0.x.stride = 10 }),
            (["B = gateUp", "12 elements of K"], { $0.weights.gateUp.scales?.granularity.columns = 12 }),
            (["B = shared down", "0 rows"], { $0.shared?.down.scales?.granularity.rows = 0 }),
            (["clamp of -1"], { $0.options.clamp = -1 }), (["clamp of nan"], { $0.options.clamp = .nan }),
            (["y overlaps x"], { $0.y.baseAddress = UnsafeMutableRawPointer(mutating: $0.x.baseAddress) }),
            (
                ["overlaps"],
                { $0.y.baseAddress = UnsafeMutableRawPointer(mutating: $0.weights.gateUp.baseAddress) }
            ),
            (["-3 choices"], { $0.choices.topK = -3 }),
        ]
        for (words, spoil) in cases {
            let y = TestResult(.bfloat16, rows: 4, columns: 64)
            var call = Call(
                x: moe.x.operand, choices: moe.choices, weights: moe.layer, shared: moe.shared, y: y.result)
            spoil(&call)
            expectFailure(.usage, naming: words) { () throws(FathomError) in
                try megaMoE(
                    call.x, call.choices, call.weights, shared: call.shared, into: call.y, options: call.options,
                    on: context)
            }
            #expect(y.bytes.allSatisfy { $0 == TestResult.poison }, "\(words)")
        }
    }

    @Test("A choice that is no expert is named with its token and slot", arguments: [-2, 2, Int32.max])
    func choices(expert: Int32) throws {
        let context = try ComputeContext(threadCount: 1)
        let moe = TestMoE(.bfloat16, tokens: 4, experts: 2, topK: 3, hidden: 8, intermediate: 8)
        moe.experts.start[7] = expert
        expectFailure(.usage, naming: ["token 2", "slot 1", "expert \(expert)", "0…1"]) { () throws(FathomError) in
            _ = try moe.fused(on: context)
        }
    }
}
