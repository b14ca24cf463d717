"""Ceiling `linear-probe`: a supervised linear layer on the frozen tokens.

Multinomial logistic regression from standardised tokens to the majority class of their patch, fitted on the train
split's labels. It says what of the classes can be read from the features at once. Its rows are marked
`oracle: train`.
"""
