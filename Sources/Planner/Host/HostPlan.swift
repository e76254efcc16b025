// SPDX-License-Identifier: MIT

internal import DeepSeekModel

/// Speed of one sequence on this machine, predicted from a model's shapes and rates of single kernels, in the words of
/// ``ModelCosts``: held against what the engine measures.
public struct HostPlan: Sendable, Codable, Equatable {
    /// What kernels of this machine were measured to do, all threads together.
    public struct Rates: Sendable, Codable, Equatable {
        /// 10⁹ operations per second of a product of the whole prompt with a linear layer.
        public var product: Double
        /// The same of the rows that one expert gets of the prompt.
        public var expertProduct: Double
        /// 10⁹ bytes per second of weights that a product of one row reads: of linear layers, and of the head.
        public var row: Double
        public var headRow: Double
        /// 10⁹ operations per second of attention.
        public var attention: Double

        public init(product: Double, expertProduct: Double, row: Double, headRow: Double, attention: Double) {
            self.product = product
            self.expertProduct = expertProduct
            self.row = row
            self.headRow = headRow
            self.attention = attention
        }
    }

    /// Part of the multiply-add peak of floats that attention over the latent cache is taken to reach: a default.
    public static let attentionPart = 0.5

    /// Tokens per second of a prompt, and of an answer behind it.
    public var prefill: Double
    public var decode: Double

    /// - Parameters:
    ///   - promptTokens: length of the prompt, computed in one piece.
    ///   - position: tokens before the middle of the answer.
    public init(model: ModelCosts, rates: Rates, promptTokens: Int, position: Int) {
        let c = model.configuration
        let chosen = Double(c.expertsPerToken)
        let sparse = Double(model.expertLayerCount)
        // A byte a weight in FP8, two in bfloat16; scales hardly count.
        let width = model.precision == .fp8 ? 1.0 : 2
        let linear =
            Double(model.layerCount * model.attentionBytes + model.denseLayerCount * model.denseBytes)
            + sparse * Double(model.sharedExpertBytes + model.routerBytes)
        let experts = sparse * chosen * Double(model.expertBytes)
        let tokens = Double(promptTokens)
        let pairs = tokens * (tokens + 1) / 2 * Double(model.layerCount)
        var seconds = 2 * linear / width * tokens / (rates.product * 1e9)
        seconds += 2 * experts / width * tokens / (rates.expertProduct * 1e9)
        seconds += pairs * model.decodeOperationsPerPair / (rates.attention * 1e9)
        seconds += Double(model.headBytes) / (rates.headRow * 1e9)
        prefill = tokens / seconds
        var step = (linear + experts) / (rates.row * 1e9) + Double(model.headBytes) / (rates.headRow * 1e9)
        step +=
            Double(position) * Double(model.layerCount) * model.decodeOperationsPerPair / (rates.attention * 1e9)
        decode = 1 / step
    }
}
