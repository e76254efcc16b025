// SPDX-License-Identifier: MIT

/// What a slot of a simulated rank holds: not numbers but what they stand for, so that a sum shows its order.
indirect enum SimulatedRow: Sendable, Equatable {
    /// A token on its way to experts, with the ranks of the node that it is handed to, where it is relayed.
    case token(source: Int, token: Int, wanted: [Int32])
    /// What `rank` returns to `source`: the row that was its i-th from there.
    case returned(rank: Int, source: Int, row: Int)
    case sum([SimulatedRow])
}

/// A slot's content, with who wrote it for what.
struct SimulatedCell: Sendable, Equatable {
    var epoch: Int
    /// The rank whose stream it is, or the node where streams are of nodes.
    var stream: Int
    var row: Int
    var content: SimulatedRow
}

/// Where a put goes.
enum SimulatedArea: Int, Sendable, CaseIterable {
    /// Slots for received rows.
    case landing
    /// Rings between counterparts.
    case relay
    /// Rings on the way back.
    case back
}

/// What travels.
enum SimulatedMessage: Sendable {
    case counts(epoch: Int, ExchangeCounts)
    case cell(SimulatedArea, slot: Int, SimulatedCell)
    case signal(word: Int, value: UInt64)
}

/// The memory of a simulated rank.
struct SimulatedMemory {
    private var cells: [[SimulatedCell?]]
    var words: [UInt64]
    /// Two sets, by the exchange's parity, one for each rank.
    var counts: [[ExchangeCounts?]]

    init(rankCount: Int, nodeCount: Int, capacity: ExchangeCapacity) {
        cells = [
            Array(repeating: nil, count: capacity.landingRows),
            Array(repeating: nil, count: nodeCount * capacity.relayRows),
            Array(repeating: nil, count: (rankCount + nodeCount) * capacity.returnRows),
        ]
        words = Array(repeating: 0, count: ExchangeWiring.wordCount(rankCount: rankCount))
        counts = Array(repeating: Array(repeating: nil, count: rankCount), count: 2)
    }

    subscript(area: SimulatedArea, slot: Int) -> SimulatedCell? {
        get { cells[area.rawValue][slot] }
        set { cells[area.rawValue][slot] = newValue }
    }
}
