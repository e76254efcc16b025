// SPDX-License-Identifier: MIT

internal import Platform
internal import Simulation

/// A group of ranks with random tokens and faults for low-latency exchanges, the same for the same seed.
struct LowLatencyGroup {
    /// A half of an operation. All ranks go through the same halves in the same order.
    enum Half: Int {
        case dispatch, receive, combine, finish
    }

    let shape: LowLatencyShape
    /// For each operation, each rank's choices.
    let selections: [[TopKSelection]]
    /// Halves and their operations, from 1.
    let program: [(half: Half, operation: Int)]
    /// Whether ranks read each other's memory; else rows are put.
    let readsInPlace: Bool
    /// By operation and rank, whether it gives its rows back in place where that is possible.
    let givesBackInPlace: [[Bool]]
    let faults: NetworkFaults
    /// A rank that dies, and when.
    let death: (rank: Int, time: Int)?
    /// Whether the others are certain of it, so that even one alone goes on.
    let deathIsCertain: Bool

    /// - Parameter dies: whether a rank dies on the way.
    init(seed: UInt64, dies: Bool) throws(FathomError) {
        var random = SimulationRandom(seed: seed)
        let ranks = 1 + random.number(below: 6)
        let experts = 1 + random.number(below: 10)
        let topK = 1 + random.number(below: 3)
        let tokens = 1 + random.number(below: 4)
        shape = try LowLatencyShape(
            placement: ExpertPlacement(rankCount: ranks, expertCount: experts), hidden: 1, element: .bfloat16,
            topK: topK, tokensPerRank: tokens)
        let operations = 2 + random.number(below: 4)
        var selections: [[TopKSelection]] = []
        for _ in 0..<operations {
            var group: [TopKSelection] = []
            for _ in 0..<ranks {
                var ids: [Int32] = []
                for _ in 0..<random.number(below: tokens + 1) {
                    var left = Array(0..<Int32(experts))
                    for _ in 0..<topK {
                        let takes = !left.isEmpty && random.number(below: 8) > 0
                        ids.append(takes ? left.remove(at: random.number(below: left.count)) : -1)
                    }
                }
                group.append(try TopKSelection(topK: topK, experts: ids))
            }
            selections.append(group)
        }
        self.selections = selections
        program = Self.program(operations: operations, &random)
        readsInPlace = random.number(below: 2) == 0
        givesBackInPlace = (0..<operations).map { _ in (0..<ranks).map { _ in random.number(below: 2) == 0 } }
        faults = .reliable(&random)
        let victim = (rank: random.number(below: ranks), time: random.number(below: 300_000))
        death = dies ? victim : nil
        deathIsCertain = random.number(below: 2) == 0
    }

    /// Halves in a random order in which at most two operations are under way.
    private static func program(
        operations: Int, _ random: inout SimulationRandom
    ) -> [(half: Half, operation: Int)] {
        // How many operations have gone through each half.
        var done = [0, 0, 0, 0]
        var program: [(half: Half, operation: Int)] = []
        while done[3] < operations {
            var possible: [Half] = []
            if done[0] < operations, done[0] - done[3] < 2 { possible.append(.dispatch) }
            if done[1] < done[0] { possible.append(.receive) }
            if done[2] < done[1] { possible.append(.combine) }
            if done[3] < done[2] { possible.append(.finish) }
            let half = possible[random.number(below: possible.count)]
            done[half.rawValue] += 1
            program.append((half, done[half.rawValue]))
        }
        return program
    }
}
