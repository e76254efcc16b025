// SPDX-License-Identifier: MIT

#if Server
public import Tokenizers

/// A loaded model as the server needs it.
public struct ServedModel: Sendable {
    /// The sampling parameters that a request gets where it names none.
    public struct SamplingDefaults: Sendable {
        public var temperature: Double
        public var topP: Double
        /// 0 keeps all.
        public var topK: Int
        public var repetitionPenalty: Double

        public init(temperature: Double = 1, topP: Double = 1, topK: Int = 0, repetitionPenalty: Double = 1) {
            self.temperature = temperature
            self.topP = topP
            self.topK = topK
            self.repetitionPenalty = repetitionPenalty
        }
    }

    /// The processes that compute a model together.
    public struct Ranks: Sendable {
        /// Those that are there, ascending.
        public var present: [Int]
        /// Those that were there at the start.
        public var count: Int

        public init(present: [Int], count: Int) {
            self.present = present
            self.count = count
        }
    }

    /// What clients call it.
    public var name: String
    public var engine: any TextGenerationEngine
    public var tokenizer: Tokenizer
    public var chatFormat: ChatFormat
    /// The longest sequence in tokens, prompt and answer together.
    public var contextLength: Int
    /// The token put before the text prompts of `/v1/completions` and `/tokenize`; nil for none.
    public var beginOfSequence: Int32?
    public var defaults: SamplingDefaults
    /// The ranks over which the experts are spread, as they are now; nil for one process.
    public var ranks: (@Sendable () -> Ranks)?
    /// Seconds since 1970 that `/v1/models` reports.
    public var created: Int

    public init(
        name: String, engine: any TextGenerationEngine, tokenizer: Tokenizer, chatFormat: ChatFormat,
        contextLength: Int, beginOfSequence: Int32? = nil, defaults: SamplingDefaults = .init(),
        ranks: (@Sendable () -> Ranks)? = nil, created: Int = 0
    ) {
        self.ranks = ranks
        self.name = name
        self.engine = engine
        self.tokenizer = tokenizer
        self.chatFormat = chatFormat
        self.contextLength = contextLength
        self.beginOfSequence = beginOfSequence
        self.defaults = defaults
        self.created = created
    }

    /// Whether a conversation starts a reasoning trace unless the request says otherwise: the hybrid V3.1
    /// does not.
    var thinksByDefault: Bool { chatFormat != .v31 }
}
#endif
