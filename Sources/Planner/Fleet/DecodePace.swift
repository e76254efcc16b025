// SPDX-License-Identifier: MIT

internal import DeepSeekModel

/// How long a step of a decode unit takes, by the fullest GPU: tables of predictions for one balance of experts.
struct DecodePace: Sendable {
    /// Seconds by requests of a GPU: all layers, both micro-batches.
    private let dispatch: [Double]
    private let underDispatch: [Double]
    private let experts: [Double]
    private let combine: [Double]
    private let underCombine: [Double]
    /// Dense layers and heads, less the core attention.
    private let rest: [Double]
    /// Seconds of a token in a GPU's cache: in layers with experts, and in dense ones.
    private let secondsPerToken: Double
    private let denseSecondsPerToken: Double
    /// Tokens that a request attends to at most; nil for all.
    private let selection: Double?
    /// Requests of a GPU at most.
    let limit: Int

    init(_ design: FleetDesign, imbalance: Double) {
        let (shape, model) = (design.decode, design.model)
        limit = shape.maximumRequests
        selection = model.configuration.indexer.map { Double($0.topK) }
        func times(_ requests: Double, _ context: Double) -> DecodeTimes {
            DecodeTimes(
                .init(
                    ranks: shape.ranks, redundantExperts: shape.redundantExperts, requests: requests, context: context,
                    tokensPerStep: shape.tokensPerStep, expertImbalance: imbalance, cacheFormat: shape.cacheFormat),
                of: model, on: design.hardware, rates: design.rates)
        }
        let drafts = Double(min(shape.tokensPerStep - 1, 1) * model.configuration.predictionLayerCount)
        let layers = 2 * (Double(model.expertLayerCount) + drafts)
        let dense = 2 * Double(model.denseLayerCount)
        var tables = [[Double]](repeating: [], count: 6)
        for requests in 0...shape.maximumRequests {
            let found = times(max(0.5, Double(requests) / 2), 0)
            tables[0].append(layers * found.stages.seconds(.dispatch))
            tables[1].append(layers * (found.stages.seconds(.shared) + found.stages.seconds(.attention0)))
            tables[2].append(layers * found.stages.seconds(.experts))
            tables[3].append(layers * found.stages.seconds(.combine))
            tables[4].append(layers * found.stages.seconds(.attention1))
            tables[5].append(dense * found.denseSecondsPerLayer + 2 * (1 + drafts) * found.headSeconds)
        }
        (dispatch, underDispatch, experts) = (tables[0], tables[1], tables[2])
        (combine, underCombine, rest) = (tables[3], tables[4], tables[5])
        // The core attention is proportional to the tokens; two long contexts give its slope.
        let (near, far) = (2e4, 4e4)
        let slope =
            (times(64, far).stages.seconds(.attention1) - times(64, near).stages.seconds(.attention1))
            / (64 * (far - near))
        let sparseSlope = selection == nil ? slope : times(64, 2048).stages.seconds(.attention1) / (64 * 2048)
        secondsPerToken = layers / 2 * sparseSlope
        denseSecondsPerToken = dense / 2 * sparseSlope
    }

    /// Seconds of a step.
    ///
    /// - Parameters:
    ///   - requests: of the GPU with most.
    ///   - tokens: in the cache of the GPU with most.
    func seconds(requests: Int, tokens: Double) -> Double {
        let n = min(requests, limit)
        let read = selection.map { min(tokens, Double(n) * $0) } ?? tokens
        return max(dispatch[n], underDispatch[n]) + experts[n]
            + max(combine[n], underCombine[n] + read * secondsPerToken) + rest[n] + read * denseSecondsPerToken
    }

    /// The most requests of a GPU at which an answer still has `speed` tokens per second; at least 1.
    func requests(atSpeed speed: Double, yield: Double, context: Double, cacheTokens: Double) -> Int {
        var count = 1
        while count < limit, Double(count + 1) * context <= cacheTokens,
            yield / seconds(requests: count + 1, tokens: Double(count + 1) * context) >= speed
        {
            count += 1
        }
        return count
    }
}
