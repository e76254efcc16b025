// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("What-if")
struct WhatIfTests {
    /// Two streams: communication starts after a product, and a second product waits for it.
    private func small() throws -> Trace {
        try Trace(
            json: """
                [{"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 9, "tid": 9, "ts": 0, "dur": 2,
                  "args": {"correlation": 1}},
                 {"ph": "X", "cat": "cuda_runtime", "name": "cudaStreamWaitEvent", "pid": 9, "tid": 9, "ts": 3,
                  "dur": 1},
                 {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 9, "tid": 9, "ts": 5, "dur": 2,
                  "args": {"correlation": 2}},
                 {"ph": "X", "cat": "cuda_runtime", "name": "cudaStreamWaitEvent", "pid": 9, "tid": 9, "ts": 8,
                  "dur": 1},
                 {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 9, "tid": 9, "ts": 10, "dur": 2,
                  "args": {"correlation": 3}},
                 {"ph": "X", "cat": "kernel", "name": "deep_gemm::fp8_gemm<1>(int)", "pid": 0, "tid": 7, "ts": 5,
                  "dur": 100, "args": {"correlation": 1}},
                 {"ph": "X", "cat": "kernel", "name": "deep_ep::internode::dispatch<8>(int)", "pid": 0, "tid": 9,
                  "ts": 107, "dur": 50, "args": {"correlation": 2, "grid": [20, 1, 1]}},
                 {"ph": "X", "cat": "kernel", "name": "deep_gemm::fp8_gemm<1>(int)", "pid": 0, "tid": 7, "ts": 160,
                  "dur": 40, "args": {"correlation": 3}}]
                """)
    }

    @Test("A chain over two streams shrinks by what is faster, and keeps its delays")
    func chain() throws {
        var question = WhatIf()
        question.speedups = [.denseGemm: 2]
        let answer = try question.answer(try small())
        #expect(answer.calledWaits == 2)
        #expect(answer.before.trace.span == 5000..<200_000)
        #expect(answer.after.trace.operations.map(\.start) == [5000, 57_000, 110_000])
        #expect(answer.after.trace.span == 5000..<130_000)
        #expect(answer.before.critical.first?.name == "dense GEMM" && answer.before.critical.first?.time == 140_000)
        #expect(answer.before.critical.map(\.time).reduce(0, +) == 195_000)
    }

    @Test("Impossible questions are refused with what is legal")
    func misuse() throws {
        let trace = try small()
        var question = WhatIf()
        question.speedups = [.denseGemm: 0]
        expectFailure(.usage, naming: ["denseGemm", "legal"]) { () throws(FathomError) in _ = try question.answer(trace)
        }
        question = WhatIf()
        question.split = .init(compute: 100, communication: 32)
        expectFailure(.usage, naming: ["no split"]) { () throws(FathomError) in _ = try question.answer(trace) }
    }

    @Test("The training trace runs again in its own times", .enabled(if: TrainTrace.isThere))
    func identity() throws {
        let trace = try Trace(path: TrainTrace.path)
        let answer = try WhatIf().answer(trace)
        #expect(answer.before.trace.operations.map(\.range) == trace.operations.map(\.range))
        #expect(answer.after.trace.span == trace.span)
        #expect(answer.before.critical.map(\.time).reduce(0, +) == 129_012_000)
        #expect(answer.calledWaits > 20)
        // Of the time before starts, dependencies explain all but a small part.
        #expect(answer.unexplained < 15_000_000)
    }

    @Test("Faster kernels shorten the training trace, slower ones lengthen it", .enabled(if: TrainTrace.isThere))
    func directions() throws {
        let trace = try Trace(path: TrainTrace.path)
        #expect(WhatIf.split(of: trace) == .init(compute: 112, communication: 20))
        func span(_ change: (inout WhatIf) -> Void) throws -> Int64 {
            var question = WhatIf()
            change(&question)
            let span = try question.answer(trace).after.trace.span
            return span.upperBound - span.lowerBound
        }
        let whole: Int64 = 129_012_000
        #expect(try span { $0.dropsNotify = true } < whole)
        #expect(try span { $0.speedups = [.attentionBackward: 1.5, .attentionForward: 1.5] } < whole)
        #expect(try span { $0.speedups = [.combine: 0.5] } > whole)
        #expect(try span { $0.split = .init(compute: 66, communication: 66) } > whole)
        #expect(
            try span { question in
                for kernelClass in KernelClass.allCases { question.speedups[kernelClass] = 1e6 }
            } < whole / 2)
        expectFailure(.usage, naming: ["112/20"]) { () throws(FathomError) in
            var question = WhatIf()
            question.split = .init(compute: 120, communication: 20)
            _ = try question.answer(trace)
        }
    }
}
