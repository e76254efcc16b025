// SPDX-License-Identifier: MIT

/// How the memory that a rank shares in low-latency exchanges is divided; the same at every rank, everything twice.
///
/// What is never used costs address space only: landing slots where sources' rows are read in place, return slots where
/// returned rows are.
struct LowLatencyMemory: Sendable {
    let shape: LowLatencyShape
    /// Where the areas of a buffer begin in it.
    private let areas: [Int]
    /// Bytes of one of the two buffers.
    let bufferBytes: Int

    /// The areas of a buffer.
    private enum Area: Int, CaseIterable {
        /// What sources say they send: for each source the rows of each local expert, then the rows' tokens.
        case notices
        /// What experts' ranks say: for each the place of the first row of each of its experts.
        case answers
        /// The own rows, as they go out.
        case stage
        /// Rows that were put here: for each source, in the order of its stream.
        case landing
        /// Received rows, [local experts, slots] without gaps, and their scales likewise.
        case rows, scales
        /// Rows that experts made, to be read in place, [local experts, slots].
        case made
        /// Rows that came back: for each rank, in the order of its stream.
        case returned
    }

    private static func aligned(_ count: Int) -> Int {
        (count + ExchangeMemory.alignment - 1) / ExchangeMemory.alignment * ExchangeMemory.alignment
    }

    init(_ shape: LowLatencyShape) {
        self.shape = shape
        let ranks = shape.placement.rankCount
        let slots = shape.expertsPerRank * shape.slotsPerExpert
        var areas: [Int] = []
        var next = 0
        for area in Area.allCases {
            areas.append(next)
            let bytes =
                switch area {
                case .notices: ranks * Self.noticeStride(shape)
                case .answers: ranks * Self.answerStride(shape)
                case .stage: shape.tokensPerRank * Self.rowStride(shape)
                case .landing: ranks * shape.rowsPerStream * Self.rowStride(shape)
                case .rows: slots * shape.format.dataBytes
                case .scales: slots * shape.format.scaleBytes
                case .made: slots * Self.returnStride(shape)
                case .returned: ranks * shape.rowsPerStream * Self.returnStride(shape)
                }
            next += Self.aligned(bytes)
        }
        self.areas = areas
        bufferBytes = next
    }

    var byteCount: Int { 2 * bufferBytes }

    private func base(_ operation: Int, _ area: Area) -> Int { (operation & 1) * bufferBytes + areas[area.rawValue] }

    // MARK: Records

    private static func noticeStride(_ shape: LowLatencyShape) -> Int {
        aligned(4 * (shape.expertsPerRank + shape.rowsPerStream))
    }
    private static func answerStride(_ shape: LowLatencyShape) -> Int { aligned(4 * shape.expertsPerRank) }
    private static func rowStride(_ shape: LowLatencyShape) -> Int { aligned(shape.format.rowBytes) }
    private static func returnStride(_ shape: LowLatencyShape) -> Int {
        aligned(returnBytes(shape))
    }
    /// Bytes of a returned row at most: of LogFMT-10 those of a row whose blocks all stay BF16.
    private static func returnBytes(_ shape: LowLatencyShape) -> Int {
        switch shape.returnFormat {
        case .bfloat16: 2 * shape.format.hidden
        case .logFMT10: LogFMT10.maximumBytes(hidden: shape.format.hidden)
        }
    }

    var returnStride: Int { Self.returnStride(shape) }
    /// Bytes of a row that goes out: numbers, then scales.
    var rowBytes: Int { shape.format.rowBytes }

    // MARK: Places

    func notice(_ operation: Int, from source: Int) -> Int {
        base(operation, .notices) + source * Self.noticeStride(shape)
    }
    func answer(_ operation: Int, from rank: Int) -> Int {
        base(operation, .answers) + rank * Self.answerStride(shape)
    }
    func staged(_ operation: Int, token: Int) -> Int { base(operation, .stage) + token * Self.rowStride(shape) }
    func landing(_ operation: Int, from source: Int, row: Int) -> Int {
        base(operation, .landing) + (source * shape.rowsPerStream + row) * Self.rowStride(shape)
    }
    func row(_ operation: Int, expert: Int, slot: Int) -> Int {
        base(operation, .rows) + (expert * shape.slotsPerExpert + slot) * shape.format.dataBytes
    }
    func scales(_ operation: Int, expert: Int, slot: Int) -> Int {
        base(operation, .scales) + (expert * shape.slotsPerExpert + slot) * shape.format.scaleBytes
    }
    func made(_ operation: Int, expert: Int, slot: Int) -> Int {
        base(operation, .made) + (expert * shape.slotsPerExpert + slot) * Self.returnStride(shape)
    }
    func returned(_ operation: Int, from rank: Int, row: Int) -> Int {
        base(operation, .returned) + (rank * shape.rowsPerStream + row) * Self.returnStride(shape)
    }

    // MARK: Signal words

    /// The word of `rank` for a leg.
    func word(_ leg: LowLatencyProtocol.Leg, from rank: Int) -> Int { leg.rawValue * shape.placement.rankCount + rank }
    /// The word that says that an exchange cannot be completed; behind those of the protocol.
    var failureWord: Int { 2 * shape.placement.rankCount }
    var signalCount: Int { failureWord + 1 }
}
