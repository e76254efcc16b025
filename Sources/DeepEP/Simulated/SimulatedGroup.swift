// SPDX-License-Identifier: MIT

internal import Platform
internal import Simulation

/// A group of ranks with random tokens, capacities and faults, the same for the same seed.
struct SimulatedGroup {
    let placement: ExpertPlacement
    let twoHop: Bool
    let capacity: ExchangeCapacity
    /// For each round, each rank's layout.
    let rounds: [[DispatchLayout]]
    let faults: NetworkFaults
    /// A rank that dies, and when.
    let death: (rank: Int, time: Int)?

    /// - Parameter dies: whether a rank dies on the way.
    init(seed: UInt64, dies: Bool) throws(FathomError) {
        var random = SimulationRandom(seed: seed)
        let nodes = 1 + random.number(below: 3)
        let perNode = 1 + random.number(below: 3)
        twoHop = nodes > 1 && random.number(below: 3) > 0
        let ranks = twoHop ? nodes * perNode : 1 + random.number(below: 6)
        let experts = 1 + random.number(below: 12)
        placement = try ExpertPlacement(rankCount: ranks, ranksPerNode: perNode, expertCount: experts)
        let narrow = random.number(below: 2) == 0
        capacity = try ExchangeCapacity(
            landingRows: narrow ? ranks * (1 + random.number(below: 2)) : 4_000,
            relayRows: 1 + random.number(below: narrow ? 2 : 20), returnRows: 1 + random.number(below: narrow ? 2 : 20),
            chunkRows: 1 + random.number(below: 5), rankCount: ranks)
        let topK = 1 + random.number(below: 4)
        let most = random.number(below: 10)
        var rounds: [[DispatchLayout]] = []
        for _ in 0..<2 {
            var layouts: [DispatchLayout] = []
            for _ in 0..<ranks {
                let tokens = random.number(below: most + 1)
                let ids = (0..<tokens * topK).map { _ in Int32(random.number(below: experts + 1)) - 1 }
                layouts.append(
                    try DispatchLayout(TopKSelection(topK: topK, experts: ids), placement: placement))
            }
            rounds.append(layouts)
        }
        self.rounds = rounds
        faults = .reliable(&random)
        let victim = (rank: random.number(below: ranks), time: random.number(below: 400_000))
        death = dies ? victim : nil
    }
}
