// SPDX-License-Identifier: MIT

internal import FlashMLA
internal import Logging
internal import Platform
internal import Ranks
internal import Synchronization

// SAFETY: In this file addresses lie in the ranks' shared regions, at the places of `ExchangeLayout`. A step's
// message is written before its signal and read after it; an answer likewise.

/// What every rank of an expert-parallel model has: the model, the shared cache and the exchange.
///
/// Every rank maps the whole checkpoint and multiplies only with the experts that it is given, so a change of places
/// moves no bytes between ranks: pages come from the page cache. The KV cache is one for all ranks of the machine, so
/// that any rank can run any sequence, and a lost rank loses no sequence.
final class ExpertParallelMember: Sendable {
    /// Tokens of one call of the exchange at most.
    private static let maximumSlabTokens = 1024
    /// 32-bit words of a step's message at most.
    private static let maximumStepWords = 1 << 20
    /// Rows of logits of one rank in one step at most.
    static let maximumLogitsRows = 256
    /// How long a rank waits for another inside a step before it gives up. Hung ranks are noticed much earlier; this is
    /// for one that lives and does not come.
    private static let exchangeTimeoutMilliseconds = 600_000

    let group: RankGroup
    let model: DeepSeekExecutor
    let layout: ExchangeLayout
    let region: SymmetricRegion
    let exchange: RankExpertExchange
    /// Keeps the cache's memory.
    private let cacheRegion: SymmetricRegion

    /// Every rank calls it with the same folder and options.
    ///
    /// - Throws: what is wrong with the folder, or a rank that is lost or has other options.
    init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, logger: Logger,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    ) throws(FathomError) {
        self.group = group
        var region: SymmetricRegion?
        model = try DeepSeekExecutor(
            folder: folder, options: options,
            cacheMemory: { (byteCount) throws(FathomError) in
                let made = try group.symmetricRegion(byteCount: byteCount, signalCount: 0)
                region = made
                return made.peer(0)
            }, logger: logger, progress: progress)
        guard let region else { throw FathomError(.internal, "the model made no cache") }
        cacheRegion = region
        let configuration = model.configuration
        layout = ExchangeLayout(
            slabTokens: min(Self.maximumSlabTokens, ForwardPass.slabTokens(configuration)),
            hiddenSize: configuration.hiddenSize, expertsPerToken: configuration.expertsPerToken,
            rankCount: group.rankCount, stepWords: Self.maximumStepWords, logitsRows: Self.maximumLogitsRows,
            vocabularySize: configuration.vocabularySize, layerCount: configuration.layerCount,
            expertCount: configuration.routedExpertCount)
        self.region = try group.symmetricRegion(byteCount: layout.byteCount, signalCount: layout.signalCount)
        exchange = try RankExpertExchange(
            region: self.region, layout: layout, timeoutMilliseconds: Self.exchangeTimeoutMilliseconds)
    }

    /// The layers that call the exchange.
    var expertLayers: [Int] {
        (0..<model.configuration.layerCount).filter(model.configuration.hasExperts)
    }

    /// Tokens of some ranks that chose each expert since the start [layers with experts, experts]; between steps only.
    func counts(of ranks: [Int32]) -> [UInt64] {
        let expertCount = layout.expertCount
        let layers = expertLayers
        var counts = [UInt64](repeating: 0, count: layers.count * expertCount)
        for rank in ranks {
            guard let base = region.peer(Int(rank)) else { continue }
            let theirs = (base + layout.loads).assumingMemoryBound(to: UInt64.self)
            for (index, layer) in layers.enumerated() {
                for expert in 0..<expertCount {
                    counts[index * expertCount + expert] += theirs[layer * expertCount + expert]
                }
            }
        }
        return counts
    }

    /// Computes this rank's part of a step.
    func run(_ message: StepMessage, step: UInt64) throws(FathomError) -> LogitsMatrix {
        try exchange.begin(message, step: step)
        return try model.forward(message.chunks, exchange: exchange)
    }

    /// Tells all members that this rank has given up a step.
    func abort(step: UInt64, members: [Int32]) {
        for member in members { region.signal(Int(member), layout.aborted, step) }
    }
}
