// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Platform
import TestSupport
import Testing

@Suite("Plans of products")
struct GemmPlanTests {
    @Test(
        "Few rows go straight through the codes, many through panels",
        arguments: [
            (1, MatrixOperand.Format.bfloat16, MatrixOperand.Order.kMajor, GemmBlocking.Path.direct),
            (32, .float8E4M3, .kMajor, .direct), (33, .float8E4M3, .kMajor, .panel), (4, .float4E2M1, .kMajor, .direct),
            (5, .float4E2M1, .kMajor, .panel),
            (1, .bfloat16, .mnMajor, .panel), (4096, .float32, .kMajor, .panel),
        ])
    func paths(
        m: Int, format: MatrixOperand.Format, order: MatrixOperand.Order, path: GemmBlocking.Path
    ) throws {
        let plan = try GemmPlan(
            m: m, n: 4096, k: 7168, formatB: format, orderB: order, threads: 2, multipliesPairs: false)
        #expect(plan.blocking.path == path)
        #expect(plan.description.contains(path.rawValue + ":"))
    }

    @Test("Wide tiles pay for packing earlier")
    func wideTiles() throws {
        for (m, path) in [(12, GemmBlocking.Path.direct), (13, .panel)] {
            let plan = try GemmPlan(m: m, n: 4096, k: 7168, formatB: .bfloat16, threads: 2, multipliesPairs: true)
            #expect(plan.blocking.path == path && plan.description.contains(path.rawValue + ":"))
        }
    }

    @Test("Scales of single rows of FP8 weights take the panels and multiply the weights")
    func rowScales() throws {
        let plan = try GemmPlan(
            m: 1, n: 512, k: 512, formatB: .float8E4M3, scalesB: .perToken(), threads: 2)
        #expect(plan.blocking.path == .panel && plan.scaleSide == .weights)
        let usual = try GemmPlan(m: 1, n: 512, k: 512, formatB: .float8E4M3, threads: 2)
        #expect(usual.scaleSide == .rows)
    }

    @Test("Large products give every thread several tasks, and tasks cover the product")
    func tasks() throws {
        for threads in [1, 2, 8, 64] {
            for (m, n) in [(1, 7168), (33, 7168), (256, 4096), (4096, 2112), (5000, 128), (528, 128)] {
                for gate in [false, true] {
                    let plan = try GemmPlan(m: m, n: n, k: 7168, formatB: .bfloat16, gate: gate, threads: threads)
                    let blocking = plan.blocking
                    #expect(blocking.taskRows * blocking.rowTasks >= m)
                    #expect(blocking.taskColumns * blocking.columnTasks >= (gate ? n / 2 : n))
                    #expect(plan.tasks == blocking.rowTasks * blocking.columnTasks)
                    if threads > 1, m * n >= threads * 1 << 20 {
                        #expect(plan.tasks >= threads * 2, "\(m)×\(n), \(threads) threads: \(plan)")
                    }
                    // Sums, packed rows and a panel fit a worker's scratch memory.
                    let packsItself = blocking.path == .panel && plan.sharedBytes == 0
                    let packed = packsItself ? blocking.taskRows * (blocking.chunk + 16) * 4 : 0
                    #expect(plan.sharedBytes <= ComputeContext.sharedCount * 4)
                    #expect(
                        plan.sumBytes + packed + plan.panelBytes + plan.rowBlockBytes
                            <= ComputeContext.scratchCount * 4)
                }
            }
        }
    }

    @Test("Few rows are taken in runs of columns that become shorter to the end; many rows task by task")
    func runs() throws {
        for threads in [1, 2, 3, 8, 64] {
            for (n, groups) in [(129_280, 1), (7168, 1), (1408, 14), (32, 1), (100, 300)] {
                let plan = try GemmPlan(
                    m: 1, n: n, k: 2048, groups: groups, formatA: .float8E4M3, formatB: .float8E4M3, threads: threads,
                    multipliesPairs: true)
                #expect(plan.runs.reduce(0, +) == plan.tasks && plan.runs.allSatisfy { $0 > 0 })
                if threads == 1 { #expect(plan.runs.count == 1) }
                for (length, next) in zip(plan.runs, plan.runs.dropFirst()) { #expect(next <= length) }
                // Nobody gets its whole part at once, and the last run is short.
                let most = max(1, plan.tasks * 3 / (4 * threads))
                #expect(threads == 1 || plan.runs[0] <= most, "\(n) × \(groups), \(threads) threads: \(plan.runs)")
                if let last = plan.runs.last, threads > 1 { #expect(last == 1) }
            }
        }
        let plan = try GemmPlan(m: 256, n: 4096, k: 2048, formatB: .bfloat16, threads: 2)
        #expect(plan.runs == Array(repeating: 1, count: plan.tasks))
    }

    @Test("Panels fit the second-level cache, whatever its size", arguments: [256, 512, 1024, 2048])
    func caches(kibibytes: Int) throws {
        let plan = try GemmPlan(
            m: 512, n: 4096, k: 4096, formatB: .bfloat16, threads: 2, cacheBytes: kibibytes << 10)
        #expect(plan.panelBytes + plan.rowBlockBytes <= kibibytes << 10)
        #expect(plan.blocking.panelRows >= min(64, kibibytes / 16) && plan.blocking.taskColumns % 128 == 0)
    }

    @Test("A plan of groups counts the tasks of all of them")
    func groups() throws {
        let plan = try GemmPlan(m: 64, n: 2048, k: 2048, groups: 32, formatB: .float8E4M3, threads: 2)
        #expect(plan.tasks == 32 * plan.blocking.taskCount)
        #expect(try GemmPlan(m: 4, n: 4, k: 4, groups: 0, formatB: .float32, threads: 1).tasks == 0)
        #expect(try GemmPlan(m: 0, n: 4, k: 4, formatB: .float32, threads: 1).tasks == 0)
    }

    @Test("Impossible extents are named")
    func misuse() {
        expectFailure(.usage, naming: ["k", "-1"]) { () throws(FathomError) in
            _ = try GemmPlan(m: 1, n: 1, k: -1, formatB: .float32, threads: 1)
        }
        expectFailure(.usage, naming: ["0 threads"]) { () throws(FathomError) in
            _ = try GemmPlan(m: 1, n: 1, k: 1, formatB: .float32, threads: 0)
        }
    }
}
