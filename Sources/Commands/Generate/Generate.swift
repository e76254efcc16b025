// SPDX-License-Identifier: MIT

import ArgumentParser
import Inference
import Platform
import Tokenizers

/// Continues a text or a list of token ids.
struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Continue a text or a list of token ids.",
        discussion: """
            The prompt is taken as it is: no chat template is laid around it (fathom chat does that). The \
            begin-of-sequence token is put before it where the checkpoint's tokenizer_config.json asks for \
            it. \
            Without --prompt and --tokens, standard input is the prompt.

            EXAMPLES
              fathom generate --prompt "<｜User｜>What is 12 plus 30?<｜Assistant｜><think>" --temperature 0
              fathom generate --tokens 1,2,3 --max-tokens 24 --temperature 0 --ignore-eos --json
              echo "Sort 3, 1, 2." | fathom generate --seed 7
            """)

    @Option(help: ArgumentHelp("The text to continue.", valueName: "text"))
    var prompt: String?

    @Option(help: ArgumentHelp("The token ids to continue, with nothing added.", valueName: "1,2,3"))
    var tokens: TokenList?

    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup(title: "Model") var experts: ExpertOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var logging: LoggingOptions

    func validate() throws {
        if prompt != nil, tokens != nil {
            throw ValidationError("--prompt and --tokens exclude each other: each is the whole prompt")
        }
    }

    func run() async throws {
        if try experts.workedForAnother(model, execution: execution, logger: logging.logger(label: "fathom")) { return }
        let text = try prompt ?? (tokens == nil ? LineReader.readAllText() : nil)
        let session = try ModelSession(model: model, execution: execution, experts: experts, logging: logging)
        defer { session.engine.stop() }
        var ids = tokens?.ids ?? []
        if let text {
            ids = try session.promptIDs(text)
        }
        let request = GenerationRequest(
            id: "generate", prompt: ids,
            sampling: sampling.parameters(defaults: session.defaults.samplingParameters))
        var answer = Answer(promptTokens: ids.count)
        for try await event in try session.engine.submit(request) {
            switch event {
            case .token(let id, let text, _, _):
                answer.tokens.append(id)
                if session.tokenizer != nil { answer.text = (answer.text ?? "") + text }
                if !output.json {
                    try show(id: id, text: text, isFirst: answer.tokens.count == 1, session: session)
                }
            case .finished(let result):
                answer.finish(result)
            }
        }
        if output.json {
            try Output.renderLine(answer)
        } else {
            try StandardOutput.write("\n")
        }
    }

    /// Writes what a token adds: text, or its id where the checkpoint has no tokenizer.
    private func show(id: Int32, text: String, isFirst: Bool, session: ModelSession) throws(FathomError) {
        if session.tokenizer != nil {
            try StandardOutput.write(text)
        } else {
            try StandardOutput.write(isFirst ? "\(id)" : ",\(id)")
        }
    }

    /// The JSON that `--json` writes.
    private struct Answer: Encodable {
        /// null where the checkpoint has no tokenizer.
        var text: String?
        var tokens: [Int32] = []
        var finishReason = ""
        var stopString: String?
        var promptTokens: Int
        var cachedTokens = 0
        var completionTokens = 0

        enum CodingKeys: String, CodingKey {
            case text
            case tokens
            case finishReason = "finish_reason"
            case stopString = "stop_string"
            case promptTokens = "prompt_tokens"
            case cachedTokens = "cached_tokens"
            case completionTokens = "completion_tokens"
        }

        init(promptTokens: Int) {
            self.promptTokens = promptTokens
        }

        mutating func finish(_ result: GenerationResult) {
            finishReason = result.finishReason.rawValue
            stopString = result.stopString
            promptTokens = result.promptTokens
            cachedTokens = result.cachedTokens
            completionTokens = result.completionTokens
        }
    }
}
