// SPDX-License-Identifier: MIT

import DeepEP
import Platform
import Testing

@Suite("Planner and buffer sizes")
struct PlannerTests {
    @Test(
        "multiprocessors are the published ones",
        arguments: [
            (2, 8, 8, 50.0, 430.0, 12), (4, 8, 8, 50, 430, 6), (8, 8, 8, 50, 430, 4), (2, 8, 8, 50, 191, 8),
            (1, 8, 8, 50, 430, 14), (1, 8, 8, 50, 191, 6), (1, 8, 8, 50, 810, 24), (2, 8, 6, 50, 430, 10),
        ])
    func multiprocessors(nodes: Int, perNode: Int, topK: Int, rdma: Double, nvlink: Double, wanted: Int) throws {
        let plan = try CommunicationPlan(
            .init(
                scaleOut: nodes, scaleUp: perNode, topK: topK, rdmaGigabytesPerSecond: rdma,
                nvlinkGigabytesPerSecond: nvlink))
        #expect(plan.multiprocessors == wanted)
    }

    @Test(
        "low-latency buffers have the original's size",
        arguments: [(256, 1_908_410_496), (288, 2_146_961_792), (320, 2_385_513_088)])
    func lowLatency(experts: Int, bytes: Int) {
        // The published figures round up to whole signals of a queue; the rows decide.
        let found = BufferSizes.lowLatency(tokensPerRank: 128, hidden: 7168, experts: experts)
        #expect(abs(found - bytes) <= 4096, "\(found)")
    }

    @Test("elastic buffers have the original's size", arguments: [(8, 1, 452), (16, 2, 1154), (64, 8, 4614)])
    func elastic(ranks: Int, nodes: Int, mebibytes: Int) throws {
        let format = try RowFormat(hidden: 7168, element: .bfloat16)
        let bytes = BufferSizes.elastic(ranks: ranks, nodes: nodes, tokensPerRank: 4096, format: format, topK: 8)
        #expect(bytes >> 20 == mebibytes)
    }

    @Test("impossible groups are errors")
    func misuse() {
        #expect(throws: FathomError.self) { try CommunicationPlan(.init(scaleOut: 0, scaleUp: 8)) }
        #expect(throws: FathomError.self) { try CommunicationPlan(.init(scaleOut: 1, scaleUp: 8, experts: 4)) }
        #expect(throws: FathomError.self) {
            try CommunicationPlan(.init(scaleOut: 1, scaleUp: 8, nvlinkGigabytesPerSecond: 0))
        }
    }
}
