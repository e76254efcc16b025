// SPDX-License-Identifier: MIT

internal import Logging
internal import Platform
internal import Ranks

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
    let layout: StepLayout
    let region: SymmetricRegion
    let exchange: LayerExchange
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
        layout = StepLayout(
            stepWords: Self.maximumStepWords, logitsRows: Self.maximumLogitsRows,
            vocabularySize: configuration.vocabularySize,
            countsLength: configuration.layerCount * max(configuration.routedExpertCount, 1),
            rankCount: group.rankCount)
        self.region = try group.symmetricRegion(byteCount: layout.byteCount, signalCount: layout.signalCount)
        exchange = try LayerExchange(
            group: group, configuration: configuration, codings: model.expertCodings,
            slabTokens: min(Self.maximumSlabTokens, ForwardPass.slabTokens(configuration)),
            timeoutMilliseconds: Self.exchangeTimeoutMilliseconds)
    }

    /// The layers that call the exchange.
    var expertLayers: [Int] {
        (0..<model.configuration.layerCount).filter(model.configuration.hasExperts)
    }

    /// Computes this rank's part of a step.
    func run(_ message: StepMessage) throws(FathomError) -> LogitsMatrix {
        try exchange.begin(message)
        return try model.forward(message.chunks, exchange: exchange)
    }
}
