// SPDX-License-Identifier: MIT

/// One number of a plan with where it comes from, so that a reader sees what is put in and what comes out.
public struct Figure: Sendable, Codable, Equatable {
    /// Where a number comes from.
    public enum Basis: String, Sendable, Codable, CaseIterable {
        /// Given: published, read off a figure, or chosen.
        case input
        /// Arithmetic on published inputs, without a model of anything.
        case closedForm = "closed form"
        /// From shapes, hardware peaks and kernel tables, without a clock.
        case predicted
        /// From the simulation of the day.
        case simulated
        /// An input of the simulation was chosen so that this comes out: shows consistency, predicts nothing.
        case calibrated
    }

    public var name: String
    public var unit: String
    public var basis: Basis
    public var value: Double
    /// What was published or measured by others.
    public var published: Double?
    /// How far the value may lie from the published one: the rounding of inputs and of the published figure, or the
    /// tolerance of a simulation. In the value's unit.
    public var tolerance: Double?
    /// What it follows from, or why it is off.
    public var note: String

    public init(
        _ name: String, _ value: Double, unit: String, basis: Basis, published: Double? = nil,
        tolerance: Double? = nil, note: String = ""
    ) {
        self.name = name
        self.value = value
        self.unit = unit
        self.basis = basis
        self.published = published
        self.tolerance = tolerance
        self.note = note
    }

    /// Value less published over published; nil without one.
    public var deviation: Double? { published.map { $0 == 0 ? 0 : value / $0 - 1 } }

    /// Whether the value lies within its tolerance; nil where there is nothing to hold it against. An input agrees with
    /// itself, which says nothing.
    public var isMet: Bool? {
        guard basis != .input, let published, let tolerance else { return nil }
        // A hair of room for the arithmetic.
        return (value - published).magnitude <= tolerance * (1 + 1e-9) + published.magnitude * 1e-12
    }
}

/// Figures under one heading.
public struct FigureGroup: Sendable, Codable, Equatable {
    public var title: String
    public var figures: [Figure]

    public init(_ title: String, _ figures: [Figure]) {
        (self.title, self.figures) = (title, figures)
    }
}
