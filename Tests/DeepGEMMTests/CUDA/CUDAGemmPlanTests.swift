// SPDX-License-Identifier: MIT

import DeepGEMM
import Testing

@Suite("The choice of the GPU product's kernel")
struct CUDAGemmPlanTests {
    /// Shapes of the DeepGEMM table.
    static let weights = [
        (2112, 7168), (24576, 1536), (32768, 512), (7168, 16384), (4096, 7168), (7168, 2048),
    ]

    @Test("Every shape gets a legal configuration that fits", arguments: [0, 1, 16, 64, 65, 128, 500, 4096])
    func legal(m: Int) {
        for (n, k) in Self.weights + [(8, 16), (1, 0), (0, 128), (16, 128), (129, 144)] {
            for element in CUDAGemmConfiguration.Element.allCases {
                for output in CUDAGemmConfiguration.Output.allCases {
                    let plan = CUDAGemmPlan(CUDAGemmShape(m: m, n: n, k: k, element: element, output: output))
                    let c = plan.configuration
                    #expect(c.sharedBytes <= CUDAGemmConfiguration.sharedByteLimit)
                    #expect(c.stages >= 3 && c.stages <= 8)
                    #expect(c.blockColumns % c.storeColumns == 0 && c.storeColumns % 16 == 0)
                    #expect(plan.gridCount % c.cluster == 0 && plan.gridCount >= 1 && plan.gridCount <= 132)
                    #expect(plan.cost.seconds.isFinite && plan.cost.seconds > 0)
                    #expect(plan.cost.seconds >= plan.shape.floorSeconds(on: .h200))
                }
            }
        }
    }

    @Test("A square product takes large tiles and shares an operand")
    func large() {
        let plan = CUDAGemmPlan(CUDAGemmShape(m: 4096, n: 7168, k: 16384))
        #expect(plan.configuration.blockRows * plan.configuration.blockColumns >= 128 * 128)
        #expect(plan.configuration.cluster == 2)
        #expect(plan.configuration.splits == 1)
        let floor = plan.shape.floorSeconds(on: .h200)
        #expect(plan.cost.seconds < 1.4 * floor)
    }

    @Test("Few rows with few columns are split along K")
    func small() {
        let plan = CUDAGemmPlan(CUDAGemmShape(m: 1, n: 576, k: 7168))
        #expect(plan.configuration.blockRows == 64)
        #expect(plan.cost.units > 60)
        #expect(!plan.configuration.rereadsB)
    }

    @Test("Block widths need not be powers of two: 112 columns fill the multiprocessors where 128 do not")
    func unaligned() {
        let plan = CUDAGemmPlan(CUDAGemmShape(m: 256, n: 7168, k: 7168))
        #expect(plan.cost.units > 112 && plan.cost.units <= 132)
    }

    @Test("A limit of multiprocessors is kept, and one alone has no cluster", arguments: [1, 2, 7, 64])
    func limit(multiprocessors: Int) {
        let plan = CUDAGemmPlan(
            CUDAGemmShape(m: 4096, n: 4096, k: 4096), multiprocessorLimit: multiprocessors)
        #expect(plan.gridCount <= multiprocessors)
        #expect(multiprocessors > 1 || plan.configuration.cluster == 1)
    }

    @Test("Groups keep to their alignment, share only A and are not split", arguments: [64, 128, 256])
    func groups(alignment: Int) {
        for grouping in [CUDAGemmConfiguration.Grouping.ids, .masked] {
            let plan = CUDAGemmPlan(
                CUDAGemmShape(
                    m: 4096, n: 4096, k: 7168, grouping: grouping, groups: 8, alignment: alignment))
            let c = plan.configuration
            #expect(grouping == .masked || alignment % c.blockRows == 0)
            #expect(c.cluster == 1 || c.sharesA)
            #expect(c.splits == 1)
        }
    }

    @Test("The same shape always gives the same kernel")
    func deterministic() {
        let shape = CUDAGemmShape(m: 333, n: 4096, k: 7168)
        #expect(CUDAGemmPlan(shape) == CUDAGemmPlan(shape))
    }
}
