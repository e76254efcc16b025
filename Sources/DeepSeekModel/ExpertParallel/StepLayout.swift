// SPDX-License-Identifier: MIT

/// Where the messages between the first rank and the others lie in each rank's region, in bytes from its start; the
/// same on all ranks.
///
///     step │ answer of rank 0 │ answer of rank 1 │ …
///
/// `step` takes the first rank's message. Answers go to the first rank: a line with a status and a count, then logits
/// or the text of an error, then counts of choices where they were asked for.
struct StepLayout: Sendable, Equatable {
    /// 32-bit words of a step's message at most.
    let stepWords: Int
    /// Rows of logits of one rank in one step at most, and the numbers of each.
    let logitsRows: Int
    let vocabularySize: Int
    /// Counts of choices, 64 bits each.
    let countsLength: Int
    let rankCount: Int

    /// What an answer is.
    enum Status: Int32 {
        /// Rows of logits.
        case logits = 1
        /// The text of what was wrong at this rank.
        case failed
        /// The text of why the rank gave up: another is lost or has failed.
        case gaveUp
    }

    /// Bytes of an error's text at most.
    static let errorByteCount = 4096

    private static let line = 64
    private static func aligned(_ bytes: Int) -> Int { (bytes + line - 1) / line * line }

    /// Where the first rank's message goes: its length in words, then the words.
    let step = 0
    /// The status word and the count of a rank's answer.
    func answer(of rank: Int) -> Int { Self.aligned(4 + stepWords * 4) + rank * answerByteCount }
    /// Its logits, or the text of an error.
    func logits(of rank: Int) -> Int { answer(of: rank) + Self.line }
    /// How many tokens of its own chose each expert of each layer.
    func counts(of rank: Int) -> Int { logits(of: rank) + payloadByteCount }

    private var payloadByteCount: Int {
        Self.aligned(max(logitsRows * vocabularySize * 4, Self.errorByteCount))
    }
    private var answerByteCount: Int { Self.line + payloadByteCount + Self.aligned(countsLength * 8) }
    var byteCount: Int { answer(of: rankCount) }

    // Signals of each rank.

    /// Rises when the first rank has a step.
    let stepped = 0
    /// Rises when `rank` has answered a step; at the first rank.
    func answered(by rank: Int) -> Int { 1 + rank }
    var signalCount: Int { 1 + rankCount }
}
