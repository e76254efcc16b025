// SPDX-License-Identifier: MIT

internal import Platform

/// What moving weights costs, and how much balance it must buy.
public struct MigrationTerms: Sendable, Equatable {
    /// Bytes of one expert's weights in one layer. DeepSeek-V3's, in FP8 with 128×128 scales: 44 050 944.
    public var bytesPerExpert: Int
    /// How much more than in a plan made from nothing the fullest rank of a layer may have to do, as a fraction: 0.05
    /// is 5 %. 0 pays any number of bytes for the balance of that plan; the more, the fewer bytes move.
    public var slack: Double
    /// Bytes that may move, of all layers together; nil is no limit. Layers whose fullest rank loses most come first.
    public var maximumBytes: Int?

    public init(
        bytesPerExpert: Int = Self.deepSeekV3BytesPerExpert, slack: Double = 0.05, maximumBytes: Int? = nil
    ) {
        self.bytesPerExpert = bytesPerExpert
        self.slack = slack
        self.maximumBytes = maximumBytes
    }

    /// Three matrices of 7168 × 2048 bytes, and four bytes for each 128×128 of them.
    public static let deepSeekV3BytesPerExpert = 3 * (7168 * 2048 + 7168 * 2048 / (128 * 128) * 4)

    func validate() throws(FathomError) {
        guard 1...1 << 48 ~= bytesPerExpert else {
            throw FathomError(.usage, "bytes per expert: found \(bytesPerExpert); legal are 1…\(1 << 48)")
        }
        guard slack.isFinite, slack >= 0 else {
            throw FathomError(.usage, "slack: found \(slack); legal is a fraction from 0, such as 0.05")
        }
        if let maximumBytes, maximumBytes < 0 {
            throw FathomError(.usage, "maximum bytes: found \(maximumBytes); legal are numbers from 0")
        }
    }
}

/// The weights that move between two placements.
public struct MigrationCost: Sendable, Equatable, Codable {
    /// Experts that a rank of another node has to send, because no rank of the receiver's node held them.
    public var copiesAcrossNodes = 0
    /// Experts that come from another rank of the same node.
    public var copiesWithinNodes = 0
    public var bytesAcrossNodes = 0
    public var bytesWithinNodes = 0

    /// Nothing moves.
    public init() {}

    /// All bytes that move.
    public var bytes: Int { bytesAcrossNodes + bytesWithinNodes }
}
