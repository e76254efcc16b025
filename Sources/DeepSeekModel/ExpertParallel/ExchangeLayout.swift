// SPDX-License-Identifier: MIT

/// Where the parts of each rank's shared region lie, in bytes from its start; the same on all ranks.
///
///     inbox of source 0 │ inbox of source 1 │ … │ outbox │ step │ answer │ loads
///
/// An inbox has two counts (entries, rows), the entries and the rows. The outbox takes the outputs that come back,
/// one place for each token and choice of this rank's slab. `step` takes the first rank's message; the answer and the
/// loads are the rank's own, for the first rank to read.
struct ExchangeLayout: Sendable, Equatable {
    /// Tokens of one slab at most.
    let slabTokens: Int
    let hiddenSize: Int
    let expertsPerToken: Int
    let rankCount: Int
    /// 32-bit words of a step's message at most.
    let stepWords: Int
    /// Rows of logits of one rank in one step at most, and the numbers of each.
    let logitsRows: Int
    let vocabularySize: Int
    let layerCount: Int
    let expertCount: Int

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

    var rowByteCount: Int { hiddenSize * 4 }
    /// Bytes before the first entry of an inbox.
    static let headerByteCount = line
    static let entryByteCount = 16

    private var entriesByteCount: Int { Self.aligned(slabTokens * expertsPerToken * Self.entryByteCount) }
    private var inboxByteCount: Int {
        Self.headerByteCount + entriesByteCount + Self.aligned(slabTokens * rowByteCount)
    }

    /// The inbox for what `source` sends.
    func inbox(from source: Int) -> Int { source * inboxByteCount }
    func entries(from source: Int) -> Int { inbox(from: source) + Self.headerByteCount }
    func rows(from source: Int) -> Int { entries(from: source) + entriesByteCount }
    /// Where the output of a token's choice goes.
    func output(token: Int, choice: Int) -> Int {
        rankCount * inboxByteCount + (token * expertsPerToken + choice) * rowByteCount
    }
    /// Where the first rank's message goes: its length in words, then the words.
    var step: Int { Self.aligned(output(token: slabTokens, choice: 0)) }
    /// Where a rank's answer is: a status word and a byte count in one line, then logits or the text of an error.
    var answer: Int { Self.aligned(step + 4 + stepWords * 4) }
    var logits: Int { answer + Self.line }
    /// Where a rank counts the tokens of its own that chose each expert of each layer, 64 bits each.
    var loads: Int { Self.aligned(logits + max(logitsRows * vocabularySize * 4, Self.errorByteCount)) }
    var byteCount: Int { Self.aligned(loads + layerCount * expertCount * 8) }

    // Signals of each rank.

    /// Rises when `source` has filled its inbox here.
    func arrived(from source: Int) -> Int { source }
    /// Rises when `peer` has written its outputs into the outbox here.
    func returned(from peer: Int) -> Int { rankCount + peer }
    /// Rises when `rank` has answered a step; at the first rank.
    func answered(by rank: Int) -> Int { 2 * rankCount + rank }
    /// Rises when the first rank has a step.
    var stepped: Int { 3 * rankCount }
    /// Rises when any rank gives up a step.
    var aborted: Int { 3 * rankCount + 1 }
    var signalCount: Int { 3 * rankCount + 2 }
}
