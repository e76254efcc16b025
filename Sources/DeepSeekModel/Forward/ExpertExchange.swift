// SPDX-License-Identifier: MIT

internal import Platform

/// Rows that this process multiplies with experts' weights, grouped by expert.
struct ExpertRows {
    /// Experts and their rows, each at least one.
    var groups: [ExpertPlan.Group]
    /// [rows, hidden], dense.
    var rows: UnsafeMutablePointer<Float>
    /// For each token, where the outputs of its choices will be. Empty where an exchange knows it.
    var places: [[ExpertPlan.Place]] = []
}

/// Where the experts of a layer are when they are spread over ranks: takes rows there, and brings the outputs back.
///
/// In each step every rank makes the same calls in the same order: for each layer with experts `slabCount` times
/// `dispatch`, then `combine`, with or without tokens of its own. Rows and outputs travel as float32, so that a token's
/// bits are those of one process.
protocol ExpertExchange: AnyObject, Sendable {
    /// Tokens of one call at most; the same on all ranks.
    var slabTokens: Int { get }
    /// Calls of each layer in this step; the same on all ranks.
    var slabCount: Int { get }

    /// Sends each row to the ranks of its experts.
    ///
    /// - Parameters:
    ///   - layer: the layer's index in the model.
    ///   - rows: [choices.count, hidden], dense.
    ///   - choices: of each token, experts ascending.
    /// - Returns: what the ranks sent here, by expert, then by source rank and token; valid until `combine`.
    /// - Throws: `unavailable` naming a rank that is lost or did not come in time.
    func dispatch(
        layer: Int, rows: UnsafeMutablePointer<Float>, choices: [[Router.Choice]]
    ) throws(FathomError) -> ExpertRows

    /// Sends the outputs of the received rows back to where the rows came from.
    ///
    /// - Parameter outputs: for each of `groups`, [rows, hidden], dense.
    /// - Returns: for each token of `dispatch` and each of its choices the output [hidden]; valid until the next call.
    /// - Throws: as `dispatch`.
    func combine(
        outputs: [UnsafeMutablePointer<Float>], groups: [ExpertPlan.Group]
    ) throws(FathomError) -> [[UnsafeMutablePointer<Float>]]
}
