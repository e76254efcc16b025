// SPDX-License-Identifier: MIT

/// What a slot of a simulated rank holds in low-latency exchanges: what it stands for, and when it was written.
struct LowLatencyCell: Sendable, Equatable {
    var operation: Int
    /// The rank whose token it is, and the token.
    var source: Int
    var token: Int
    /// The expert whose row it is; nil on the way out.
    var expert: Int?
}

/// What travels in low-latency exchanges.
enum LowLatencyMessage: Sendable {
    case notice(operation: Int, counts: [Int32], tokens: [Int32])
    case landing(row: Int, LowLatencyCell)
    /// The first slot of each local expert; nothing where rows are put.
    case answer(operation: Int, firstSlots: [Int]?)
    case returned(row: Int, LowLatencyCell)
    case signal(LowLatencyProtocol.Leg, value: Int)
    /// The view that the sender knows as it begins an operation.
    case view(Int)
    case membership(MembershipMessage)
}

/// The memory of a simulated rank, everything twice.
struct LowLatencyCells: Sendable {
    private let shape: LowLatencyShape
    /// By buffer and source: operation, counts, tokens.
    var notices: [[(operation: Int, counts: [Int32], tokens: [Int32])?]]
    var answers: [[(operation: Int, firstSlots: [Int]?)?]]
    var stage: [[LowLatencyCell?]]
    private var landing: [LowLatencyCell?]
    private var returned: [LowLatencyCell?]
    private var made: [LowLatencyCell?]

    init(_ shape: LowLatencyShape) {
        self.shape = shape
        let ranks = shape.placement.rankCount
        notices = Array(repeating: Array(repeating: nil, count: ranks), count: 2)
        answers = Array(repeating: Array(repeating: nil, count: ranks), count: 2)
        stage = Array(repeating: Array(repeating: nil, count: shape.tokensPerRank), count: 2)
        landing = Array(repeating: nil, count: 2 * ranks * shape.rowsPerStream)
        returned = landing
        made = Array(repeating: nil, count: 2 * shape.expertsPerRank * shape.slotsPerExpert)
    }

    private func place(_ operation: Int, _ rank: Int, _ row: Int) -> Int {
        ((operation & 1) * shape.placement.rankCount + rank) * shape.rowsPerStream + row
    }

    private func place(_ operation: Int, expert: Int, slot: Int) -> Int {
        ((operation & 1) * shape.expertsPerRank + expert) * shape.slotsPerExpert + slot
    }

    func landing(_ operation: Int, from source: Int, row: Int) -> LowLatencyCell? {
        landing[place(operation, source, row)]
    }

    func returned(_ operation: Int, from rank: Int, row: Int) -> LowLatencyCell? {
        returned[place(operation, rank, row)]
    }

    func made(_ operation: Int, expert: Int, slot: Int) -> LowLatencyCell? {
        made[place(operation, expert: expert, slot: slot)]
    }

    mutating func land(_ cell: LowLatencyCell, from source: Int, row: Int) {
        landing[place(cell.operation, source, row)] = cell
    }

    mutating func giveBack(_ cell: LowLatencyCell, from rank: Int, row: Int) {
        returned[place(cell.operation, rank, row)] = cell
    }

    mutating func make(_ cell: LowLatencyCell, expert: Int, slot: Int) {
        made[place(cell.operation, expert: expert, slot: slot)] = cell
    }
}
