"""Continuous batching: the chunks of all files share one static batch of decoder rows on a GPU.

A row is refilled with the next chunk as soon as its text has ended, so the batch stays full for texts of any
length. All tensors keep their shapes and addresses, so that one decoding step for all rows is a CUDA graph.
On a CPU the same code runs without graphs, in float32 with the same tokens as
:class:`batches.recognition.asr.decoding.BatchDecoder`.

Modules, from the bottom up: ``weights``, ``encoder``, ``encoding_cache``, ``static_batch``,
``keyword_tables``, ``gumbel_noise``, ``decoding_step``, ``step_graphs``, ``loop_check``,
``token_alignment``, ``attempts``, ``row_filling``, ``row_results``, ``harvest``, ``lane``, ``text_pass``,
``text_scoring``, ``decoder``, ``loading``.
"""
